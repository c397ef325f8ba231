"""A model: a graph, its profile and an engine; its streams, its summary, the form of its file."""
