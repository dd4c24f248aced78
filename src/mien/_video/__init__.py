"""Readers of films, behind `mien.video`: FFmpeg for files and streams, pictures in a row, animated WebP."""
