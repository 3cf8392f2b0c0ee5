"""Audit of data sets."""
