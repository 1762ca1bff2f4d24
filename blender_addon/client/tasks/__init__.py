"""Work of one background thread each: a dub, a preview, a query."""
