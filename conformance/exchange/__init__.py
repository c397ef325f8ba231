"""What leaves the process: messages and their schemas, exported questions, ONNX files."""
