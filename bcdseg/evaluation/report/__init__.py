"""Report of an evaluation as an HTML page, as Markdown and as JSON, with the same explained results in each."""
