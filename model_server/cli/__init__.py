"""The `posedub` command."""
