"""Reviews: corrections of outlines and classes, what they are compared with, and which scan to review first."""
