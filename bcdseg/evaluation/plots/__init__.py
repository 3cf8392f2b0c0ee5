"""Figures of measures, scans and errors, drawn on matplotlib's figure objects without the global state of pyplot."""
