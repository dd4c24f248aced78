"""`mien train`, `mien tune` and `mien export`."""
