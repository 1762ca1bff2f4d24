"""What a dub is made from: which strips, and what of their files and keys."""
