"""How scans reach the network in training."""
