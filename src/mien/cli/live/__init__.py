"""`mien live`."""
