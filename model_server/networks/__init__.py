"""Networks of all engines, the layers they share, and fast convolutions on processors."""
