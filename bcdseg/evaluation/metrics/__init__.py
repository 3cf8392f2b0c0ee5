"""Metrics as pure functions of arrays, each with a rule for empty masks and missing classes."""
