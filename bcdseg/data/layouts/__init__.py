"""The file layouts of data sets, with one module for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bcdseg.data.layouts import breast, bus_bra, bus_uclm, busi, class_folders, image_mask, table
from bcdseg.data.layouts.listing import FolderListing, Listing


@dataclass(frozen=True)
class Layout:
    """A file layout of data sets.

    Attributes:
        title: Description of the layout.
        recognise: Function that returns whether a folder has the layout.
        read: Function that returns the samples of a folder and the problems with its files.
    """

    title: str
    recognise: Callable[[Listing], bool]
    read: Callable[[Listing], FolderListing]


LAYOUTS = {
    "bus_bra": Layout("BUS-BRA", bus_bra.recognise, bus_bra.read),
    "bus_uclm": Layout("BUS-UCLM", bus_uclm.recognise, bus_uclm.read),
    "breast": Layout("BrEaST", breast.recognise, breast.read),
    "table": Layout("a table of files", table.recognise, table.read),
    "busi": Layout("BUSI: masks next to their images", busi.recognise, busi.read),
    "image_mask": Layout("image and mask folders side by side", image_mask.recognise, image_mask.read),
    "class_folders": Layout("class folders without masks", class_folders.recognise, class_folders.read),
}
"""Layouts by name, in the order in which ``"auto"`` tries them: the most specific comes first."""
