"""Every measure of a report, as data, and its interval."""
