"""What engines run with: threads, turns, caches."""
