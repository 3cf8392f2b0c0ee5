"""Inference: preprocessing, network, postprocessing and output of predictions."""
