"""Sound: untrusted files' tracks laid on one time axis, mixed down, resampled."""
