"""A whole model as one file of another format: scan in, mask and probabilities out."""
