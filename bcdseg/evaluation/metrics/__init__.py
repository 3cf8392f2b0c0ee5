"""Pure functions over arrays, each with its rule for empty masks and missing classes."""
