"""Models as users hold them."""
