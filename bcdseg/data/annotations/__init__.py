"""Annotation formats: nnU-Net, COCO, YOLO, LabelMe and CVAT, and Croissant metadata."""
