"""A stand-in for the Hugging Face Hub on the loopback, with the calls of uploading and downloading a model."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "a" * 40


class _Hub(BaseHTTPRequestHandler):
    repositories: dict[str, dict[str, bytes]]
    private: set[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/api/repos/create":
            wanted = json.loads(body)
            name = "/".join(filter(None, [wanted.get("organization"), wanted["name"]]))
            if (wanted.get("private") or wanted.get("visibility") == "private") and name not in self.repositories:
                self.private.add(name)
            self.repositories.setdefault(name, {})
            self._json({"url": f"http://{self.headers['Host']}/{name}", "name": name})
        elif self.path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            self._json({"files": [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in files]})
        elif "/commit/" in self.path:
            self._commit(self._repository(), body)
        else:
            self.send_error(404)

    def _commit(self, name: str, body: bytes) -> None:
        for line in body.decode().splitlines():
            operation = json.loads(line)
            if operation["key"] == "file":
                self.repositories[name][operation["value"]["path"]] = base64.b64decode(operation["value"]["content"])
        address = f"http://{self.headers['Host']}/{name}"
        self._json({"success": True, "commitUrl": f"{address}/commit/{COMMIT}", "commitOid": COMMIT, "hookOutput": ""})

    def do_GET(self) -> None:
        self._respond(with_body=True)

    def do_HEAD(self) -> None:
        self._respond(with_body=False)

    def _respond(self, *, with_body: bool) -> None:
        if self.path.startswith("/api/models/"):
            files = self.repositories.get(self._repository())
            revision = self.path.partition("/revision/")[2]
            if files is None:
                self._missing("RepoNotFound")
            elif revision not in ("", "main", COMMIT):
                self._missing("RevisionNotFound")
            elif "/tree/" in self.path:
                self._json(
                    [{"type": "file", "path": path, "size": len(content), "oid": _hash(content)} for path, content in files.items()]
                )
            else:
                siblings = [{"rfilename": path} for path in files]
                is_private = self._repository() in self.private
                self._json({"id": self._repository(), "sha": COMMIT, "private": is_private, "siblings": siblings})
            return
        name, _, rest = self.path.lstrip("/").partition("/resolve/")
        content = self.repositories.get(name, {}).get(rest.partition("/")[2])
        if content is None:
            self._missing("EntryNotFound")
            return
        self.send_response(200)
        for key, value in {"ETag": f'"{_hash(content)}"', "X-Repo-Commit": COMMIT, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def _repository(self) -> str:
        return "/".join(self.path.removeprefix("/api/models/").split("/")[:2])

    def _json(self, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _missing(self, code: str) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def _hash(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@contextmanager
def hub() -> Iterator[tuple[str, dict[str, dict[str, bytes]]]]:
    """Run a stand-in, and yield its address and its repositories."""
    repositories: dict[str, dict[str, bytes]] = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Hub", (_Hub,), {"repositories": repositories, "private": set()}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", repositories
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
