"""From the scene to the plan of a dub."""
