"""The HTTP connection to a DICOMweb server, and its errors."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bcdseg.errors import BcdsegError, PacsError, PacsObjectError
from bcdseg.extras import require
from bcdseg.sources import EXITS

if TYPE_CHECKING:
    from bcdseg.pacs.server import DicomWebServer

PURPOSE = "Reading from and storing in a PACS"
WAIT = 500  # milliseconds before the second attempt; it doubles with each
IN_ONE_PIECE = 2**40  # dicomweb-client sends larger bodies in pieces, and an empty body when it repeats such a request
BUSY = (408, 429, 502, 503, 504)
FAILED, REASON = "00081198", "00081197"  # the tags of FailedSOPSequence and FailureReason
RESUME = "The same call or command continues: what is stored is not stored again."
ADDRESS = "Check the address, which often ends in /dicom-web."


def pacs_module(module: str) -> Any:
    """Import a module of the extra ``pacs``, or raise the error that names the extra."""
    return require(module, extra="pacs", purpose=PURPOSE)


def connect(server: DicomWebServer) -> Any:
    """Return the client of a server; no request is sent."""
    api, requests = pacs_module("dicomweb_client.api"), pacs_module("requests")
    session = requests.Session()
    if server.ca_file is not None:
        session.mount("https://", _trusting(str(server.ca_file)))
    if server.user is not None:
        session.auth = (server.user.encode(), (server.password or "").encode())
    elif server.token is not None:
        session.auth = _bearer(server.token)  # as a header alone, it would be replaced by what is in a .netrc file
    options = {"timeout": server.timeout, "chunk_size": IN_ONE_PIECE, "permissive_uid": True}
    client = api.DICOMwebClient(server.url.rstrip("/"), session=session, **options)
    client.set_http_retry_params(max_attempts=server.attempts, wait_exponential_multiplier=WAIT // 2)
    return client


def _bearer(token: str) -> Callable[[Any], Any]:
    def add_token(request: Any) -> Any:
        request.headers["Authorization"] = f"Bearer {token}"
        return request

    return add_token


def _trusting(ca_file: str) -> Any:
    """Return a transport that trusts these authorities; requests prefers those of environment variables to a session's."""

    class Trusting(pacs_module("requests.adapters").HTTPAdapter):  # type: ignore[misc]
        def send(self, request: Any, **options: Any) -> Any:
            return super().send(request, **{**options, "verify": ca_file})

    return Trusting()


@contextmanager
def translated_errors(url: str, doing: str, *, single: bool = False) -> Iterator[None]:
    """Convert all errors of a request to a ``PacsError``, without the response's text, which may quote patients.

    Args:
        url: Address of the server.
        doing: What the request does, for the message.
        single: Whether a refusal concerns one object only, so that it becomes a ``PacsObjectError``.
    """
    try:
        yield
    except (BcdsegError, *EXITS):
        raise
    except BaseException as error:
        raise _translated(error, url, doing, single) from None


def _translated(error: BaseException, url: str, doing: str, single: bool) -> PacsError:
    failures = pacs_module("requests.exceptions")
    status = _status(error)
    if status is not None:
        return _refusal(status, url, f"{doing} (HTTP {status}{_failure_reasons(error)})", single)
    if isinstance(error, failures.SSLError):
        return _unverified(error, url)
    if isinstance(error, failures.Timeout):
        return PacsError(f"{url}: did not respond in time while {doing}. {RESUME}")
    if isinstance(error, (failures.ConnectionError, failures.ChunkedEncodingError)):
        return PacsError(f"{url}: can't be reached, or the connection was lost while {doing}. {RESUME}")
    kind = PacsObjectError if single else PacsError
    return kind(f"{url}: its response while {doing} is not DICOMweb ({type(error).__name__}). {ADDRESS}")


def _status(error: BaseException) -> int | None:
    """Return the HTTP status of a failed request, also of one that was repeated in vain."""
    response = getattr(error, "response", None)
    if response is None:
        response = getattr(getattr(error, "last_attempt", None), "value", None)
    status = getattr(response, "status_code", None)
    return status if isinstance(status, int) else None


def _failure_reasons(error: Any) -> str:
    """Return the DICOM statuses of objects that the server doesn't store, for the message; empty where it doesn't state them."""
    try:
        failed = error.response.json()[FAILED]["Value"]
        statuses = dict.fromkeys(f"0x{int(one[REASON]['Value'][0]):04X}" for one in failed)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return ""
    return f", DICOM status {', '.join(statuses)}"


def _refusal(status: int, url: str, doing: str, single: bool) -> PacsError:
    if status in (401, 403):
        return PacsError(f"{url}: refuses the user while {doing}. Check user, password or token, and what the user may do.")
    if status in BUSY or (status == 500 and not single):
        return PacsError(f"{url}: is busy or failed while {doing}. {RESUME}")
    refused = f"{url}: refuses the request while {doing}."
    return PacsObjectError(refused) if single else PacsError(f"{refused} {ADDRESS}")


def _unverified(error: BaseException, url: str) -> PacsError:
    """Return the error for an encrypted connection that failed; the reason is in an error that the others contain."""
    waiting, seen = [error], set()
    while waiting:
        one = waiting.pop()
        if isinstance(one, ssl.SSLCertVerificationError):
            return PacsError(
                f"{url}: its certificate can't be verified ({one.verify_message}). Give the PEM file of the authority that "
                "signed it: ca_file=, --ca-file."
            )
        seen.add(id(one))
        inner = (*one.args, getattr(one, "reason", None), one.__cause__, one.__context__)
        waiting += [each for each in inner if isinstance(each, BaseException) and id(each) not in seen]
    return PacsError(f"{url}: no encrypted connection could be made. Check that the server speaks https at this address.")
