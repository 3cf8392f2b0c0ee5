"""Public data sets: their addresses and licences, their download, and frozen folds of their scans."""
