"""DAE-Talker (Du et al., ACM MM 2023): speech, and a head pose if one is given, become frames of one trained actor."""
