"""A large area as windows, and its map from theirs: a Gaussian-weighted mean, added up in place."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np

from bcdseg.data.preprocess import Prepared, Preprocessing
from bcdseg.infer.answers import Answers, Array
from bcdseg.infer.looks import Seen
from bcdseg.infer.maps import bands, new_map, resized_map
from bcdseg.infer.tiles import Tiles
from bcdseg.infer.votes import count
from bcdseg.infer.windows import Place, Windows
from bcdseg.types import Pixels


class TiledLook:
    """An area as windows of the network's own size; for the class also as a whole, before them.

    A network that takes scans at their own size has no smaller whole: there the windows alone speak for the class.
    """

    def __init__(self, pixels: Pixels, preprocessing: Preprocessing, tiles: Tiles, *, threshold: float, has_classes: bool) -> None:
        self.windows = Windows(pixels, preprocessing, tiles)
        self.threshold = threshold
        self.shows_whole = has_classes and preprocessing.resize != "none"

    @property
    def count(self) -> int:
        """See ``Look``."""
        return len(self.windows.places) + self.shows_whole

    @cached_property
    def prepared(self) -> Prepared:
        """See ``Look``."""
        return self.windows.preprocessing(self.windows.pixels)

    def inputs(self) -> Iterator[Array]:
        """See ``Look``."""
        if self.shows_whole:
            yield self.prepared.array
        yield from map(self.windows.cut, self.windows.places)

    def take(self, answers: Iterator[Answers]) -> Seen:
        """See ``Look``. Windows are added up in the area's own map: nothing else grows with it."""
        windows, progress = self.windows, self.windows.tiles.progress
        whole = count([next(answers)]) if self.shows_whole else None
        together: Array = new_map(windows.size, np.float32)
        said, outlined = [], []
        for done, (answer, place) in enumerate(zip(answers, windows.places, strict=True), start=1):
            said.append(answer._replace(mask=None))
            outlined.append(self._add(answer, place, together))
            if progress:
                progress(done, len(windows.places))
        for rows in bands(together.shape):
            np.minimum(together[rows], 1, out=together[rows])  # weights are 1 together but for rounding
        return Seen(
            probability=resized_map(together, windows.source),
            votes=whole or count(said),
            outlined=count(said, outlined),
            pixels=windows.seen_at_once,
            windows=len(windows.places),
        )

    def _add(self, answer: Answers, place: Place, together: Array) -> float:
        """Add a window's weighted map. What comes back is how many pixels it outlines, those it shares in part."""
        assert answer.mask is not None
        in_area, in_window = self.windows.inside(place)
        inside, weights = answer.mask[in_window], self.windows.weights(place)
        together[in_area] += weights * inside
        return float(weights[inside >= self.threshold].sum())
