"""What PC-AVS networks learn, and from what."""
