"""Temporal Shift Module (TSM) video networks: a reference, an engine, a weight loader."""
