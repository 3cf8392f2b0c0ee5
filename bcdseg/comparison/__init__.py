"""Recipes compared on the same folds."""
