"""Where a request is taken, waits and is answered: in bounded number and time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from threading import BoundedSemaphore
from typing import Any

from anyio import fail_after
from fastapi import HTTPException, Request

from bcdseg.errors import BcdsegError, ImageError, InputError, MissingExtraError, OptionError, TooLargeError
from bcdseg.infer.prediction import Prediction
from bcdseg.serve.lanes import READY, Job, Lanes
from bcdseg.serve.limits import Limits
from bcdseg.serve.upload import drop_body, open_upload, read_body

STATUS: dict[type[Exception], int] = {
    TooLargeError: 413,
    MissingExtraError: 415,
    ImageError: 422,
    InputError: 422,
    OptionError: 422,
}
LATER = {"Retry-After": "1"}


class Desk:
    """Takes as many requests as the limits allow, and hands them to the lanes.

    A place is held from before a request's body is read until its scan is computed or dropped, also when nobody waits for it any
    more: so memory and work are bounded.
    """

    def __init__(self, lanes: Lanes, limits: Limits) -> None:
        self.lanes, self.limits = lanes, limits
        self._places = BoundedSemaphore(limits.queue)

    async def ask(
        self,
        request: Request,
        options: Mapping[str, Any],
        frame: int | None,
        encoder: Callable[[bytes], Callable[[Prediction], bytes]],
    ) -> bytes:
        """The answer to a request.

        Args:
            request: Its body has not been read.
            options: Of ``Model.predict``.
            frame: Of a DICOM clip.
            encoder: Takes the file and gives what turns its prediction into the answer.
        """
        problem = self._closed()
        if problem is None and not self._places.acquire(blocking=False):
            problem = HTTPException(429, f"{self.limits.queue} requests wait already. Try again in a moment.", LATER)
        if problem is not None:
            with _arriving(self.limits.timeout):
                await drop_body(request, self.limits.bytes)
            raise problem
        try:
            with _arriving(self.limits.timeout):
                content = await read_body(request, self.limits.bytes)
            job = Job(source=partial(open_upload, content, frame, self.limits), options=options, encode=encoder(content))
        except BaseException:
            self._places.release()
            raise
        job.future.add_done_callback(lambda _: self._places.release())
        self.lanes.put(job)
        return await self._answer(job)

    def _closed(self) -> HTTPException | None:
        if self.lanes.state == READY:
            return None
        return HTTPException(503, f"The server is {self.lanes.state}. Try again in a moment.", LATER)

    async def _answer(self, job: Job) -> bytes:
        try:
            with fail_after(self.limits.timeout):
                return await asyncio.shield(asyncio.wrap_future(job.future))
        except TimeoutError:
            told = f"The answer took longer than {self.limits.timeout:g} s. Try again later, or send a smaller scan."
            raise HTTPException(503, told, LATER) from None
        except BcdsegError as error:
            status = next((status for kind, status in STATUS.items() if isinstance(error, kind)), None)
            if status is None:
                raise
            raise HTTPException(status, str(error)) from None
        finally:
            job.given_up.set()


@contextmanager
def _arriving(seconds: float) -> Iterator[None]:
    try:
        with fail_after(seconds):
            yield
    except TimeoutError:
        raise HTTPException(408, f"The upload took longer than {seconds:g} s to arrive.", {"Connection": "close"}) from None
