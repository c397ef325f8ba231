"""A video to predictions, and predictions to text and JSON."""
