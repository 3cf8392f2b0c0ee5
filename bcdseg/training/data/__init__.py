"""Data loading for training."""
