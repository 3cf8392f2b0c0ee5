"""Serve the viewer OHIF next to a DICOMweb server, under one address.

Run from the repository's root, with a folder that contains OHIF's static build:

    npm pack @ohif/app && tar xzf ohif-app-*.tgz
    BCDSEG_PACS_PASSWORD=... python scripts/ohif.py package/dist --server http://127.0.0.1:8042/dicom-web --user reader

OHIF reads DICOMweb from the address that it is served from, so the browser uses no other site and needs no CORS of the archive. The
page is isolated from other origins (COOP and COEP), which the viewer's threads need. For trials on one machine: it listens on the
loopback only, and everyone who can reach it reads the archive as the given user. Only the standard library is needed.
"""

from __future__ import annotations

import argparse
import base64
import json
import mimetypes
import os
from contextlib import suppress
from http.client import HTTPConnection, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

DICOMWEB = "/dicom-web"
ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
PASSED_ON = ("Accept", "Content-Type", "Host")  # Orthanc builds the addresses in its responses from the host
PASSED_BACK = ("Content-Type", "Content-Encoding")
TYPES = {".js": "text/javascript", ".wasm": "application/wasm", ".mjs": "text/javascript"}

# The names are those of OHIF's configuration: https://docs.ohif.org/configuration/dataSources/dicom-web
SOURCE = {
    "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
    "sourceName": "archive",
    "configuration": {
        "friendlyName": "DICOMweb server",
        "name": "archive",
        "qidoRoot": DICOMWEB,
        "wadoRoot": DICOMWEB,
        "wadoUriRoot": DICOMWEB,
        "qidoSupportsIncludeField": False,
        "imageRendering": "wadors",
        "thumbnailRendering": "wadors",
        "enableStudyLazyLoad": True,
        "supportsFuzzyMatching": False,
        "supportsWildcard": True,
        "omitQuotationForMultipartRequest": True,
        "bulkDataURI": {"enabled": True},
    },
}
CONFIGURATION = {
    "routerBasename": None,
    "extensions": [],
    "modes": [],
    "showStudyList": True,
    "maxNumberOfWebWorkers": 2,
    "investigationalUseDialog": {"option": "never"},
    "defaultDataSourceName": "archive",
    "dataSources": [SOURCE],
}


class Viewer(ThreadingHTTPServer):
    """A server of OHIF's files that forwards requests to a DICOMweb server.

    Args:
        build: Folder of OHIF's static build.
        server: Address of the DICOMweb server.
        user: Name and password for it, with a colon between them; None without one.
        port: Port on the loopback; 0 chooses a free one.
    """

    daemon_threads = True

    def __init__(self, build: Path, server: str, user: str | None = None, port: int = 0) -> None:
        if not (build / "index.html").is_file():
            raise SystemExit(f"{build}: has no index.html, so it is not OHIF's static build.")
        self.build, self.server = build.resolve(), urlsplit(server.rstrip("/"))
        self.login = None if user is None else f"Basic {base64.b64encode(user.encode()).decode()}"
        super().__init__(("127.0.0.1", port), Handler)

    @property
    def url(self) -> str:
        """Address of the viewer."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """Handler of one request."""

    server: Viewer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Send a file of the viewer, or the response of the DICOMweb server."""
        if self.path.startswith(f"{DICOMWEB}/"):
            self._forward_to_archive()
        elif self.path == "/app-config.js":
            self._send(200, f"window.config = {json.dumps(CONFIGURATION)};".encode(), {"Content-Type": "text/javascript"})
        else:
            self._send_file(self.server.build / unquote(urlsplit(self.path).path).lstrip("/"))

    def _send_file(self, path: Path) -> None:
        if not (path.is_file() and path.resolve().is_relative_to(self.server.build)):
            path = self.server.build / "index.html"  # OHIF's own paths, such as /viewer
        kind = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        self._send(200, path.read_bytes(), {"Content-Type": kind})

    def _forward_to_archive(self) -> None:
        target = self.server.server
        connect = HTTPSConnection if target.scheme == "https" else HTTPConnection
        connection = connect(target.hostname or "", target.port, timeout=60)
        headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
        if self.server.login:
            headers["Authorization"] = self.server.login
        try:
            connection.request("GET", target.path + self.path.removeprefix(DICOMWEB), headers=headers)
            response = connection.getresponse()
            back = {name: response.headers[name] for name in PASSED_BACK if name in response.headers}
            self._send(response.status, response.read(), back)
        except OSError as error:
            self._send(502, f"The DICOMweb server can't be reached: {error}".encode(), {"Content-Type": "text/plain"})
        finally:
            connection.close()

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, **ISOLATED, "Content-Length": str(len(content)), "Cache-Control": "no-store"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Log nothing: addresses name studies."""


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path, help="folder of OHIF's static build")
    parser.add_argument("--server", required=True, help="address of the DICOMweb server")
    parser.add_argument("--user", help="its user; the password is read from BCDSEG_PACS_PASSWORD")
    parser.add_argument("--port", type=int, default=3000)
    given = parser.parse_args()
    login = f"{given.user}:{os.environ['BCDSEG_PACS_PASSWORD']}" if given.user else None
    with Viewer(given.build, given.server, login, given.port) as viewer:
        print(f"{viewer.url}/ shows the studies of {given.server}", flush=True)
        with suppress(KeyboardInterrupt):
            viewer.serve_forever()


if __name__ == "__main__":
    main()
