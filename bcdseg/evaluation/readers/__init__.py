"""Several readers of the same scans: their agreement with each other, with a model, and with the truth."""
