"""How good a model is: measures, intervals, calibration, reports.

The public function has the name of its room, so the room can be called: ``bcdseg.evaluate(model, test)``.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bcdseg.evaluate.evaluation import Evaluation


class _Room(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Evaluation:
        from bcdseg.evaluate.evaluate import evaluate

        return evaluate(*arguments, **options)


sys.modules[__name__].__class__ = _Room
