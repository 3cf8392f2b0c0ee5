"""Data loading of training."""
