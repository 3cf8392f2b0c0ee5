"""Export of a whole model, from scan to mask and probabilities, to files of other formats."""
