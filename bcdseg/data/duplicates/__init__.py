"""Near-duplicates: the same frame twice, rescaled, cropped, mirrored, brighter or compressed again."""
