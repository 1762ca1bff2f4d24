"""Training: from shards to a weights file, on one GPU, several, or two CPU cores."""
