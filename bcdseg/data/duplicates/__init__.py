"""Detection of near-duplicates: copies of a frame that are rescaled, cropped, mirrored, brighter or compressed again."""
