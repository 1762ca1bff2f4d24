"""Work beside the editor's: the server, jobs, previews, and the loop in which they meet Blender."""
