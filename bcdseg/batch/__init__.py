"""Batch prediction: output files, run manifests, and archives predicted by Ray workers."""
