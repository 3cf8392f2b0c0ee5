"""Request queue, bounded in number and time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import BoundedSemaphore
from typing import Any

from anyio import fail_after
from fastapi import HTTPException, Request

from bcdseg.data.reader_process import Wanted
from bcdseg.errors import BcdsegError, ImageError, InputError, MissingExtraError, OptionError, TooLargeError
from bcdseg.serve.limits import Limits
from bcdseg.serve.readers import Readers
from bcdseg.serve.upload import NAME, read_body
from bcdseg.serve.workers import BUSY, READY, WARMING, Encode, Job, Lanes

STATUS: dict[type[Exception], int] = {
    TooLargeError: 413,
    MissingExtraError: 415,
    ImageError: 422,
    InputError: 422,
    OptionError: 422,
}
LATER = {"Retry-After": "1"}


class Desk:
    """Request queue: accepts as many requests as the limits allow, has their uploads decoded, and passes the scans to the workers.

    A slot is occupied from before a request's body is read until its scan is computed or dropped, also when its client is gone:
    so memory and work are bounded.
    """

    def __init__(self, lanes: Lanes, readers: Readers, limits: Limits) -> None:
        self.lanes, self.readers, self.limits = lanes, readers, limits
        self._places = BoundedSemaphore(limits.queue)

    @property
    def state(self) -> str:
        """State of the server; scans are accepted while it is ready."""
        if self.lanes.state == READY:
            return BUSY if self.lanes.overdue(self.limits.timeout) else READY if self.readers.running else WARMING
        return self.lanes.state

    async def ask(
        self, request: Request, options: Mapping[str, Any], frame: int | None, encode: Encode, *, reference: bool = False
    ) -> bytes:
        """Return the response body of a request.

        Args:
            request: A request whose body has not been read.
            options: Options of ``Model.predict``.
            frame: Frame of a DICOM clip.
            encode: Function that makes the response body.
            reference: Whether the response is DICOM, which refers to the upload.
        """
        state = BUSY if self.lanes.overdue(self.limits.timeout) else self.lanes.state
        if state != READY:
            raise HTTPException(503, f"The server is {state}. Try again in a moment.", LATER)
        if not self._places.acquire(blocking=False):
            raise HTTPException(429, f"{self.limits.queue} requests wait already. Try again in a moment.", LATER)
        try:
            with _arriving(self.limits.timeout):
                content = await read_body(request, self.limits.bytes)
            wanted = Wanted(name=NAME, frame=frame, most_pixels=self.limits.pixels, reference=reference)
            job = Job(content=content, wanted=wanted, options=options, encode=encode)
            del content
        except BaseException:
            self._places.release()
            raise
        job.future.add_done_callback(lambda _: self._places.release())
        self.readers.put(job)
        return await self._answer(job)

    async def _answer(self, job: Job) -> bytes:
        try:
            with fail_after(self.limits.timeout):
                return await asyncio.shield(asyncio.wrap_future(job.future))
        except TimeoutError:
            told = f"The answer took longer than {self.limits.timeout:g} s. Try again later, or send a smaller scan."
            raise HTTPException(503, told, LATER) from None
        except asyncio.CancelledError:  # the server cancels requests at the end of its grace period
            raise HTTPException(503, "The server is stopping. Try again in a moment.", LATER) from None
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
        raise HTTPException(408, f"The upload took longer than {seconds:g} s to arrive.") from None
