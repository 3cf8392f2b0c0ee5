"""Tables as data sets: their files, columns, facts, and arrays in memory."""
