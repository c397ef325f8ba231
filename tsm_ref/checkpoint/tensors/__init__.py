"""Files of named tensors (PyTorch, Paddle, safetensors), and which networks they are."""
