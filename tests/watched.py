"""The library's main functions in a process of their own, whose network calls are refused and recorded.

Run as ``python watched.py RECORD FOLDER``. Every look-up, connection, fork and child process becomes a line of JSON in RECORD;
it is appended to the file, so that those of forked processes are there too.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

LOOPBACK = ("127.0.0.1", "localhost", "::1", None)
WATCHED = {
    "socket.getaddrinfo": lambda args: args[0] in LOOPBACK,
    "socket.gethostbyname": lambda args: args[0] in LOOPBACK,
    "socket.connect": lambda args: isinstance(args[1], (str, bytes)) or args[1][0] in LOOPBACK,  # a path is on this machine
    "socket.sendto": lambda args: args[1] is None or isinstance(args[1], (str, bytes)) or args[1][0] in LOOPBACK,
}
CHILDREN = ("os.fork", "os.forkpty")


def watch(record: Path) -> None:
    """Record each attempt to reach another machine, and refuse it; record each fork."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        reaches_out = event in WATCHED and not WATCHED[event](args)
        if not reaches_out and event not in CHILDREN:
            return
        callers = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_stack()[:-1]]
        line = json.dumps({"event": event, "args": repr(args), "callers": callers[-25:]}) + "\n"
        handle = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(handle, line.encode())
        os.close(handle)
        if reaches_out:
            raise OSError(f"{event} of {args!r} is refused")

    sys.addaudithook(hook)


def run(folder: Path) -> list[str]:
    """Run the main functions of the library on a scan, and name each of them."""
    import io

    import numpy as np
    import torch
    from drawn import draw_scan
    from made import busi
    from PIL import Image
    from starlette.testclient import TestClient

    import bcdseg
    from bcdseg.app.prediction_cache import ModelStore
    from bcdseg.app.server import create_app
    from bcdseg.serve.app import create_app as create_server

    torch.manual_seed(0)
    made = bcdseg.create("plain_cnn", classes=["normal", "benign", "malignant"], size=32, decoder_channels=(16, 8, 8, 4, 4))
    rules = bcdseg.Rules(threshold=0.47)  # random masks are around 0.5, where the smallest difference turns a pixel over
    model = bcdseg.Model(made.network, made.preprocessing, rules)
    classifier = bcdseg.create("plain_cnn", classes=["a", "b"], size=32, decoder=None)
    saved = model.save(folder / "small")
    scans = [draw_scan(seed, (48, 64)) for seed in range(3)]
    done = []
    list(bcdseg.load(saved, runtime="openvino").predict(scans))
    done.append("openvino")
    classifier.run_on("openvino", precision="int8", calibrate_on=scans).predict(scans[0])
    classifier.run_on("torch")
    done.append("int8")
    data = bcdseg.open_dataset(busi(folder / "data", (4, 4, 4)))
    quick = {"epochs": 1, "batch_size": 4, "workers": 0, "cache": "memory", "pictures": False, "progress": False}
    train = data.select(one for at, one in enumerate(data.ids) if at % 4)
    val = data.select(one for at, one in enumerate(data.ids) if not at % 4)
    config = bcdseg.FitConfig(**quick, augment="light", calibrate=False)
    bcdseg.fit(model, train, val, out=folder / "run", config=config)
    done.append("fit")
    bcdseg.evaluate(bcdseg.load(saved), val, draws=50, gallery=0)
    done.append("evaluate")
    for name in ("small.onnx", "small.xml"):
        classifier.export(folder / name)
        done.append(name)
    image = io.BytesIO()
    Image.fromarray(np.asarray(scans[0])).save(image, "PNG")
    origin = "http://127.0.0.1:8765"
    with TestClient(create_app(ModelStore([str(saved)])), base_url=origin, headers={"origin": origin}) as page:
        token = page.post("/api/session").json()["token"]
        (scan,) = page.post(f"/api/{token}/scans", params={"name": "scan.png"}, content=image.getvalue()).json()["scans"]
        assert page.get(f"/api/{token}/scans/{scan['id']}/prediction").status_code == 200
        done.append("app")
    with TestClient(create_server(bcdseg.load(saved)), base_url=origin) as server:
        while server.get("/ready").status_code != 200:
            pass
        assert server.post("/predict", content=image.getvalue()).status_code == 200
        done.append("serve")
    return done


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
    print(json.dumps(run(Path(sys.argv[2]))))
