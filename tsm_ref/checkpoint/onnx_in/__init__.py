"""ONNX files to graphs and weights."""
