"""Training. The one owner of Lightning and albumentations."""
