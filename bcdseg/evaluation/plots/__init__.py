"""Figures of measures, scans and errors: drawn on matplotlib's figure objects, without pyplot's global state."""
