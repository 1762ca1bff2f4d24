"""The phoneme recogniser: what is said, when, how loud and how high, of any voice; the ears of the other networks."""
