"""What a dub becomes on the timeline, and what is known of it on disk."""
