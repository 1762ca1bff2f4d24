"""From media to frames: the one path that the command, the server and the tests run."""
