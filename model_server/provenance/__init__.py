"""Marks that say of pictures and movies that, and from what, they were made; their reading."""
