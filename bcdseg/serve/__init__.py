"""A model behind HTTP: scans in, answers out, nothing kept."""
