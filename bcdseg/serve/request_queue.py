"""Request queue, bounded in number and time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from threading import BoundedSemaphore
from typing import Any

from anyio import fail_after
from fastapi import HTTPException, Request

from bcdseg.data.reader_process import BusyError, Wanted
from bcdseg.errors import BcdsegError, ImageError, InputError, LimitError, MissingExtraError, OptionError, TooLargeError
from bcdseg.serve.limits import Limits
from bcdseg.serve.readers import Readers
from bcdseg.serve.upload import NAME, read_file
from bcdseg.serve.workers import BUSY, READY, WARMING, Encode, Job, Workers
from bcdseg.web.bodies import Bodies, SlowError
from bcdseg.web.middleware import status_of

STATUS: dict[type[BaseException], int] = {
    BusyError: 503,
    SlowError: 408,
    LimitError: 413,
    TooLargeError: 413,
    MissingExtraError: 415,
    ImageError: 422,
    InputError: 422,
    OptionError: 422,
}
LATER = {"Retry-After": "1"}


class RequestQueue:
    """Request queue: accepts as many requests as the limits allow, has their uploads decoded, and passes the scans to the workers.

    A slot is occupied from before a request's body is read until its scan is computed or dropped, also when its client is gone:
    so memory and work are bounded.
    """

    def __init__(self, workers: Workers, readers: Readers, limits: Limits) -> None:
        self.workers, self.readers, self.limits = workers, readers, limits
        self._slots = BoundedSemaphore(limits.queue)
        self._bodies = Bodies(seconds=limits.timeout)

    @property
    def state(self) -> str:
        """State of the server; scans are accepted while it is ready."""
        if self.workers.state == READY:
            return BUSY if self.workers.overdue(self.limits.timeout) else READY if self.readers.running else WARMING
        return self.workers.state

    async def respond(
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
        state = BUSY if self.workers.overdue(self.limits.timeout) else self.workers.state
        if state != READY:
            raise HTTPException(503, f"The server is {state}. Try again in a moment.", LATER)
        if not self._slots.acquire(blocking=False):
            raise HTTPException(429, f"{self.limits.queue} requests wait already. Try again in a moment.", LATER)
        try:
            async with self._bodies.body(request, self.limits.bytes) as body:
                content = await read_file(request, body)
            wanted = Wanted(name=NAME, frame=frame, most_pixels=self.limits.pixels, reference=reference)
            job = Job(content=content, wanted=wanted, options=options, encode=encode)
            del body, content
        except LimitError as error:
            self._slots.release()
            raise HTTPException(status_of(error, STATUS) or 413, f"{NAME}: {error}") from None
        except BaseException:
            self._slots.release()
            raise
        job.future.add_done_callback(lambda _: self._slots.release())
        self.readers.put(job)
        return await self._result(job)

    async def _result(self, job: Job) -> bytes:
        result = asyncio.wrap_future(job.future)
        result.add_done_callback(lambda done: done.cancelled() or done.exception())  # also where nobody waits for it any more
        try:
            with fail_after(self.limits.timeout):
                return await asyncio.shield(result)
        except TimeoutError:
            problem = f"The prediction took longer than {self.limits.timeout:g} s. Try again later, or send a smaller scan."
            raise HTTPException(503, problem, LATER) from None
        except asyncio.CancelledError:  # the server cancels requests at the end of its grace period
            raise HTTPException(503, "The server is stopping. Try again in a moment.", LATER) from None
        except BcdsegError as error:
            status = status_of(error, STATUS)
            if status is None:
                raise
            raise HTTPException(status, str(error), LATER if status == 503 else None) from None
        finally:
            job.given_up.set()
