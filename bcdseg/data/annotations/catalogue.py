"""Layouts of annotation formats."""

from __future__ import annotations

from bcdseg.data.annotations import coco, cvat, labelme, nnunet, yolo
from bcdseg.data.layouts import Layout

ANNOTATION_LAYOUTS = {
    "nnunet": Layout("nnU-Net", nnunet.recognise, nnunet.read),
    "coco": Layout("COCO", coco.recognise, coco.read),
    "cvat": Layout("CVAT for images", cvat.recognise, cvat.read),
    "labelme": Layout("LabelMe", labelme.recognise, labelme.read),
    "yolo": Layout("YOLO segmentation", yolo.recognise, yolo.read),
}
"""Layouts by name, in the order in which ``"auto"`` tries them."""

ANNOTATION_FOLDERS = ("annotations", "labels")
