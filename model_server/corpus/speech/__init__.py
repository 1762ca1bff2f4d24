"""Corpora of voices: sound, what is said, and where times are exact also when."""
