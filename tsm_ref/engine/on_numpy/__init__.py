"""The NumPy engine: any graph, op by op, with nothing installed but NumPy."""
