"""Enhanced multi-frame files say in functional groups how to show a frame: in the frame's own, or in those that all share."""

from __future__ import annotations

from typing import Any

from bcdseg.data.dicom.guard import pydicom

SHARED, PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
REPLACED = {
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
}
"""What each group says, in place of what stands outside of the groups."""


def kept_of_each_frame() -> dict[int, frozenset[int]]:
    """Return which elements are kept of each frame's groups, by the tag of their sequence."""
    tag_for = pydicom("pydicom.datadict").tag_for_keyword
    return {tag_for(PER_FRAME): frozenset(map(tag_for, REPLACED))}


def of_each_frame(header: Any) -> None:
    """Keep of the frames' groups only how to show them: dates and numbers are among the rest."""
    groups = header.get(PER_FRAME)
    if groups:
        make = pydicom("pydicom.dataset").Dataset
        kept = [make({group[name].tag: group[name] for name in REPLACED if name in group}) for group in groups]
        header.add_new(PER_FRAME, "SQ", kept)  # a new element: the old one is the user's, where she gave a data set


def shown_as(header: Any, index: int) -> Any:
    """The header with what the groups say of showing one frame, counted from 0."""
    shared, own = header.get(SHARED) or (), header.get(PER_FRAME) or ()
    shown = header
    for group in (*shared[:1], *own[index : index + 1]):
        for sequence, keywords in REPLACED.items():
            for item in (group.get(sequence) or ())[:1]:
                kept = {element.tag: element for element in shown if element.keyword not in keywords}
                told = {item[keyword].tag: item[keyword] for keyword in keywords if keyword in item}
                shown = pydicom("pydicom.dataset").Dataset({**kept, **told})
    return shown
