"""A real Orthanc (Debian's ``orthanc`` and ``orthanc-dicomweb``) on the loopback, with a temporary configuration and storage."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import requests

USER, PASSWORD = "reader", "correct horse"
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
MISSING = "Orthanc is not installed: apt-get install orthanc orthanc-dicomweb"


def is_installed() -> bool:
    return shutil.which("Orthanc") is not None and PLUGIN.exists()


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


class Orthanc:
    """Server that can be killed and started again with the same storage."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.port, self.dicom_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}/dicom-web"
        self.log = folder / "orthanc.log"
        self.configuration = folder / "orthanc.json"
        folder.mkdir(parents=True, exist_ok=True)
        values = {
            "Name": "test",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "Plugins": [str(PLUGIN)],
            "RemoteAccessAllowed": False,
            "HttpPort": self.port,
            "DicomPort": self.dicom_port,
            "DicomServerEnabled": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {USER: PASSWORD},
            "HttpThreadsCount": 4,
            **options,
        }
        self.configuration.write_text(json.dumps(values))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Orthanc:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(["Orthanc", str(self.configuration)], stdout=log, stderr=log)
        end = time.monotonic() + 60
        while True:
            try:
                if self.request("GET", "/system").ok:
                    return self
            except requests.ConnectionError:
                pass
            if time.monotonic() > end or self.process.poll() is not None:
                self.kill()
                raise RuntimeError(f"Orthanc did not start:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End it immediately, as a power loss would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send a request to Orthanc's own API, which is separate from DICOMweb."""
        return requests.request(method, f"http://127.0.0.1:{self.port}{path}", auth=(USER, PASSWORD), timeout=30, **options)

    def store(self, content: bytes) -> None:
        self.request("POST", "/instances", data=content).raise_for_status()

    def instances(self) -> dict[str, bytes]:
        """Return the file of each stored instance by its SOP instance UID."""
        stored = self.request("GET", "/instances?expand").json()
        files = {one["MainDicomTags"]["SOPInstanceUID"]: f"/instances/{one['ID']}/file" for one in stored}
        return {uid: self.request("GET", path).content for uid, path in files.items()}


class Proxy:
    """Proxy before a server on the loopback.

    Args:
        port: Port of the server.
        encryption: Context for https; Debian's Orthanc 1.10.1 ends with a segmentation fault on its first encrypted request.
        severs: Whether the connection is severed when the response to a POST comes back.
    """

    def __init__(self, port: int, *, encryption: ssl.SSLContext | None = None, severs: bool = False) -> None:
        self.target, self.encryption, self.severs = port, encryption, severs
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listening.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        try:
            if self.encryption is not None:
                client = self.encryption.wrap_socket(client, server_side=True)
            with client, socket.create_connection(("127.0.0.1", self.target)) as server:
                posted = threading.Event()
                threading.Thread(target=self._pass_requests, args=(client, server, posted), daemon=True).start()
                while response := server.recv(65536):
                    if self.severs and posted.is_set() and response.startswith(b"HTTP/1.1 200"):
                        break
                    client.sendall(response)
                client.shutdown(socket.SHUT_RDWR)
        except OSError:
            client.close()

    def _pass_requests(self, client: socket.socket, server: socket.socket, posted: threading.Event) -> None:
        try:
            while request := client.recv(65536):
                if request.startswith(b"POST"):
                    posted.set()
                server.sendall(request)
        except OSError:
            return
