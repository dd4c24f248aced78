"""ONNX Runtime, told to keep to itself.

Since version 1.29 its packages for Linux and macOS report their use to their maker and leave an identifier in the
user's cache, unless a variable says otherwise before the library starts. mien never talks to anybody unasked, so
everything here imports ONNX Runtime from this module. Whoever sets the variable keeps the choice.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

if os.environ["ORT_DISABLE_TELEMETRY"] == "1":
    ort.disable_telemetry_events()  # where ONNX Runtime was loaded before mien, and on Windows

__all__ = ["ort"]
