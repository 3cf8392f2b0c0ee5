"""Images, folders and tables on disk, and the only path from them to the input of a network."""
