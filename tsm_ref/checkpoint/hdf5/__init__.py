"""HDF5 under guard: our own model format and the states of streams."""
