"""Pictures: untrusted files opened, decoded, seen as they are shown, and encoded."""
