"""Trains the phoneme recogniser (stage `phonemes`) on corpora of voices."""
