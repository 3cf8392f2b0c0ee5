"""Batch prediction: files, manifests, archives."""
