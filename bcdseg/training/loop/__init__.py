"""Training loop on PyTorch Lightning."""
