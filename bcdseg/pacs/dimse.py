"""Reception of scans that machines send (C-STORE), into a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bcdseg.dicom.guard import pydicom
from bcdseg.errors import BcdsegError, OptionError
from bcdseg.files import write_whole
from bcdseg.pacs.connection import pacs_module
from bcdseg.pacs.server import SECONDARY_CAPTURES, ULTRASOUND

SUCCESS, OUT_OF_RESOURCES, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xC000
UID = re.compile(r"[0-9][0-9.]{0,63}")
TITLE = re.compile(r"[ -\[\]-~]{1,16}")


@contextmanager
def received_scans(
    folder: Path, *, title: str = "BCDSEG", host: str = "127.0.0.1", port: int = 11112, senders: Sequence[str] = ()
) -> Iterator[int]:
    """Receive ultrasound that machines send, as files of a folder, until the context ends.

    A scan is on the disk before it is acknowledged, so a sender may delete it then. A scan that is sent again replaces nothing
    unless its content is another one.

    Args:
        folder: Folder of the files, each named by its SOP Instance UID.
        title: Application entity title that senders must call.
        host: Address to listen at.
        port: Port to listen at; 0 takes one that is free.
        senders: Application entity titles that may send; empty for all.

    Yields:
        The port.
    """
    ae_module, events, uids = pacs_module("pynetdicom"), pacs_module("pynetdicom.events"), pydicom("pydicom.uid")
    for option, one in (("title", title), *(("senders", sender) for sender in senders)):
        if not TITLE.fullmatch(one.strip()):
            raise OptionError(
                f"{option}={one!r}: an application entity title has 1 to 16 characters of ASCII, without backslashes."
            )
    if not host:
        raise OptionError("host='': name the address to listen at; 0.0.0.0 stands for all addresses of this machine.")
    entity = ae_module.AE(ae_title=title)
    entity.require_called_aet, entity.require_calling_aet = True, list(senders)
    entity.add_supported_context(pacs_module("pynetdicom.sop_class").Verification)
    for kind in sorted(ULTRASOUND | SECONDARY_CAPTURES):
        entity.add_supported_context(kind, uids.AllTransferSyntaxes)
    try:
        handlers = [(events.EVT_C_STORE, lambda event: _store(event, folder))]
        server = entity.start_server((host, port), block=False, evt_handlers=handlers)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OptionError(f"{host}:{port}: can't listen there ({reason}). Choose another address or port.") from error
    try:
        yield int(server.server_address[1])
    finally:
        entity.shutdown()


def _store(event: Any, folder: Path) -> int:
    """Write what arrived, and return the status for the sender."""
    uid = str(event.request.AffectedSOPInstanceUID)
    if not UID.fullmatch(uid):
        return CANNOT_UNDERSTAND
    content, path = event.encoded_dataset(), folder / f"{uid}.dcm"
    try:
        if not (path.is_file() and path.read_bytes() == content):
            write_whole(path, content, overwrite=True, durable=True)
    except (BcdsegError, OSError):
        return OUT_OF_RESOURCES
    return SUCCESS
