"""Who runs queued jobs, and with which engines."""
