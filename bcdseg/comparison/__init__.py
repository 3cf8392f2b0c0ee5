"""Comparison of recipes on the same cross-validation folds."""
