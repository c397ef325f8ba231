"""Video in: decoding (PyAV, only when used), frame sampling, resizing and preprocessing."""
