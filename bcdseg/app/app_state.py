"""State of the page's server, and the options of a request for a prediction."""

from __future__ import annotations

from dataclasses import dataclass

import anyio
from starlette.requests import Request

from bcdseg.app.limits import Limits
from bcdseg.app.prediction_cache import PredictionCache, PredictRequest
from bcdseg.app.reviews.corrections import Corrections
from bcdseg.app.sessions import Session, Sessions, UploadedScan
from bcdseg.errors import BcdsegError, OptionError
from bcdseg.inference.prediction import Prediction
from bcdseg.types import Failure


@dataclass(frozen=True)
class AppState:
    """State of the application that outlives a request.

    Attributes:
        sessions: Open sessions.
        predictions: Cache of predictions.
        limits: Limits of the page.
        corrections: Folder of corrections; None where none are saved.
        reader: Name of the reader that the page suggests.
        in_parallel: Limiter of the requests that are handled in parallel.
    """

    sessions: Sessions
    predictions: PredictionCache
    limits: Limits
    corrections: Corrections | None
    reader: str
    in_parallel: anyio.CapacityLimiter

    def session(self, request: Request) -> Session:
        """Return the session of a request."""
        return self.sessions.get(request.path_params["token"])

    def scan(self, request: Request) -> UploadedScan:
        """Return the scan of a request."""
        return self.session(request).scan(request.path_params["scan"])

    def predict(self, request: Request, *, explain: bool = False) -> Prediction:
        """Return the prediction of a request."""
        return self.predictions.predict(self.scan(request), predict_request(self, request, explain=explain))

    def predict_for_table(self, session: Session, scan: UploadedScan, request: PredictRequest) -> Prediction:
        """Return a prediction; where all options are those of model and file, its row of the table is stored in the session."""
        model = self.predictions.models.get(request.model)
        try:
            prediction = self.predictions.predict(scan, request)
        except BcdsegError as error:
            if request.is_plain:
                session.keep(request.model, scan, Failure(scan.name, error), model.classes)
            raise
        if request.is_plain:
            session.keep(request.model, scan, prediction, model.classes)
        return prediction

    def sweep(self) -> None:
        """Remove what idle and closed sessions stored."""
        self.sessions.sweep()
        self.predictions.keep_only(self.sessions.scan_ids())


def predict_request(state: AppState, request: Request, *, explain: bool = False) -> PredictRequest:
    """Return the model and the options in the query of a request."""
    query = request.query_params
    return PredictRequest(
        model=query.get("model") or state.predictions.models.names[0],
        threshold=_number(query.get("threshold"), "threshold"),
        spacing=_number(query.get("spacing"), "spacing"),
        operating_point=query.get("operating_point") or None,
        explain=query.get("explain") if explain else None,
    )


def _number(text: str | None, name: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        raise OptionError(f"{name}={text!r}: is not a number.") from None
