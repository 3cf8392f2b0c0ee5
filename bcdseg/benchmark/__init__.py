"""Recipes against each other on the same folds.

The public function has the name of its room, so the room can be called: ``bcdseg.benchmark(data, recipes)``.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bcdseg.benchmark.result import Benchmark


class _Room(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Benchmark:
        from bcdseg.benchmark.benchmark import benchmark

        return benchmark(*arguments, **options)


sys.modules[__name__].__class__ = _Room
