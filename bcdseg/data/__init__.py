"""Images, folders and tables on disk, and the one path from them to the numbers a network sees."""
