"""Keras files: whole models by what their layers do, weights alone by names and shapes."""
