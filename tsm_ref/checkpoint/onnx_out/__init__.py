"""Graphs and weights to ONNX files."""
