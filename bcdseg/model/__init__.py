"""Models: creation, loading, saving and prediction."""
