"""What runs an epoch after the other: Lightning's module, and what serves it."""
