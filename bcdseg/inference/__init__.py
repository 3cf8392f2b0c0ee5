"""Inference: from a scan and a network to a prediction."""
