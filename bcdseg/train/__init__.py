"""Training: segmentation and classification together. The one owner of Lightning."""
