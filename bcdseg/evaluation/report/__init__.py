"""An evaluation as a page, as Markdown and as JSON: the same figures, explained where they stand."""
