"""The phoneme recogniser, with which the other networks hear: what any voice says, when, how loud and how high."""
