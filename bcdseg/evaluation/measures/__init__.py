"""The measures of a report, as data, and their bootstrap intervals."""
