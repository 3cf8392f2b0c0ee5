"""Clips of the page: their frames, rate and summaries."""
