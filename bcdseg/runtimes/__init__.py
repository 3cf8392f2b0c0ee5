"""Runtimes: what runs a network."""
