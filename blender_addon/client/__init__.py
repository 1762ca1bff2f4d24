"""The add-on's side of the wire: connection, background jobs and the managed local server; no Blender."""
