"""`mien analyze` and `mien detectors`."""
