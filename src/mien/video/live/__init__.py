"""A live session: the newest frame of a camera, stream or file is analyzed, shown, logged and recorded."""
