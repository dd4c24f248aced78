"""Networks that Keras 1 to 3 saved become ONNX files, and back. Needs no Keras."""
