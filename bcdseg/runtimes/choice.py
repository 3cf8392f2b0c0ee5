"""Choice of the runtime and precision."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from bcdseg import __version__
from bcdseg.data.preprocessing import Preprocessing
from bcdseg.data.readers import expand, is_single, read_scan
from bcdseg.errors import BcdsegError, OptionError, ParityError, RuntimeFallbackWarning
from bcdseg.extras import require
from bcdseg.networks.config import AnyConfig, has_own_parts
from bcdseg.networks.fork_safety import has_lost_threads
from bcdseg.registry import RUNTIMES
from bcdseg.runtimes.agreement import BOUNDS, compare, softmax, synthetic_scans
from bcdseg.runtimes.base import Array, RawOutput, Runtime
from bcdseg.runtimes.graph import Engine, GraphRuntime, graph_key, has_graph, keep_graph, read_graph
from bcdseg.runtimes.onnx import OnnxRuntime
from bcdseg.runtimes.openvino import OpenVino

if TYPE_CHECKING:
    from bcdseg.networks.network import AnyNetwork
    from bcdseg.runtimes.torch_runtime import TorchRuntime


def _compiled() -> Engine:
    """Return the engine of torch.compile, whose module imports torch."""
    from bcdseg.runtimes.compiled import Compiled

    return Compiled()


ENGINES: dict[str, Callable[[], Engine]] = {"openvino": OpenVino, "onnxruntime": OnnxRuntime, "compile": _compiled}
PRECISIONS = {
    "openvino": ("fp32", "bf16", "int8"),
    "onnxruntime": ("fp32", "int8"),
    "torch": ("fp32", "bf16", "fp16"),
    "compile": ("fp32", "bf16", "fp16"),
}
for _name, _engine in ENGINES.items():
    RUNTIMES.register(_name)(_engine)
RUNTIME_DEVICES = {"openvino": ("cpu",), "onnxruntime": ("cpu",), "torch": ("cpu", "cuda", "mps"), "compile": ("cpu", "cuda")}
MODULES = {"openvino": ("openvino",), "onnxruntime": ("onnxruntime", "onnx", "onnxscript"), "torch": (), "compile": ()}
EXTRAS = {"openvino": "openvino", "onnxruntime": "onnx"}
INT8_MODULES = {"openvino": ("nncf",)}
CONVERSION_VERSION = 2  # increment when the conversion changes, so that cached graphs are converted again
NOT_AUTO = (("openvino", "bf16"),)  # on real scans its masks agree less with torch's than auto allows (Dice 0.995)
UNCHECKED = ("fp32", "bf16")  # torch precisions: fp32 is the reference; bf16 is opt-in, with a documented loss of agreement
MOST_CALIBRATION_SCANS, MOST_COMPARED = 300, 50
AUTO, VARIABLE = "auto", "BCDSEG_RUNTIME"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Chosen runtime and precision.

    Attributes:
        runtime: Name of the runtime: ``torch``, ``compile``, ``openvino`` or ``onnxruntime``.
        precision: Name of the precision: ``fp32``, ``fp16``, ``bf16`` or ``int8``.
        calibrate_on: Preprocessed scans for the calibration of int8 ranges.
    """

    runtime: str = "torch"
    precision: str = "fp32"
    calibrate_on: tuple[Array, ...] = ()

    def __str__(self) -> str:
        return f"{self.runtime}, {self.precision}"


TORCH = Choice()


def choose_precision(name: str = AUTO, *, device: str = "cpu") -> str:
    """Return the precision with a name; ``auto`` is fp16 on CUDA, where its agreement is checked, and fp32 elsewhere."""
    if name == AUTO:
        return "fp16" if _kind(device) == "cuda" else "fp32"
    if name not in BOUNDS:
        raise OptionError(f"precision={name!r} is unknown: choose one of {', '.join((AUTO, *BOUNDS))}.")
    return name


def choose_runtime(name: str = AUTO, *, precision: str = "fp32", device: str = "cpu") -> str:
    """Return the runtime with a name; ``auto`` is the value of the variable BCDSEG_RUNTIME, else the fastest installed runtime."""
    if name not in (AUTO, *PRECISIONS):
        return _registered_runtime(name, precision, device)
    if name == AUTO and os.environ.get(VARIABLE, AUTO) != AUTO:
        return choose_runtime(os.environ[VARIABLE], precision=precision, device=device)
    if name == AUTO:
        return _fastest(precision, device)
    if _kind(device) not in RUNTIME_DEVICES[name]:
        raise OptionError(
            f"runtime={name!r} runs on {' and '.join(RUNTIME_DEVICES[name])}, not on {device!r}: "
            "choose device='cpu', or runtime='torch'."
        )
    if precision not in PRECISIONS[name]:
        raise OptionError(
            f"precision={precision!r} is not one of {name}'s precisions: choose one of {', '.join(PRECISIONS[name])}."
        )
    for module in _missing(name, precision):
        require(
            module,
            extra="int8" if module in INT8_MODULES.get(name, ()) else EXTRAS[name],
            purpose=f"The runtime {name} with {precision}",
        )
    return name


def _registered_runtime(name: str, precision: str, device: str) -> str:
    """Return the name of a runtime that another package registered: an ``Engine`` for the CPU, with a tuple of ``precisions``."""
    if name not in RUNTIMES:
        known = ", ".join(dict.fromkeys((AUTO, *PRECISIONS, *RUNTIMES)))
        raise OptionError(f"runtime={name!r} is unknown: choose one of {known}.")
    precisions = getattr(RUNTIMES[name], "precisions", ("fp32",))
    if device != "cpu" or precision not in precisions:
        raise OptionError(f"runtime={name!r} runs on cpu with {', '.join(precisions)}, not on {device!r} with {precision!r}.")
    return name


def _kind(device: str) -> str:
    return device.partition(":")[0]


def _fastest(precision: str, device: str) -> str:
    names = [name for name, devices in RUNTIME_DEVICES.items() if _kind(device) in devices]
    suitable = [name for name in names if precision in PRECISIONS[name] and (name, precision) not in NOT_AUTO]
    for name in suitable:
        if not _missing(name, precision):
            return name
    if not suitable:
        raise OptionError(f"precision={precision!r} is available on the CPU only, not on {device!r}: choose device='cpu'.")
    return choose_runtime(suitable[0], precision=precision, device=device)  # raises an error that names the missing package


def _missing(name: str, precision: str) -> list[str]:
    needed = MODULES[name] + (INT8_MODULES.get(name, ()) if precision == "int8" else ())
    return [module for module in needed if find_spec(module) is None]


def preprocess_scans(source: Any, preprocessing: Preprocessing) -> tuple[Array, ...]:
    """Return preprocessed scans of a source, which may be any source of ``predict``."""
    sources = [source] if is_single(source) else expand(source)
    images = map(read_scan, islice(sources, MOST_CALIBRATION_SCANS))
    scans = tuple(preprocessing(image.pixels[area.window]).array for image in images for area in image.areas)
    if not scans:
        raise OptionError("calibrate_on= has no scans: give some dozens, from which int8 takes its ranges.")
    return scans


class Source(Protocol):
    """Interface of a network that may not be built yet, which takes seconds."""

    config: AnyConfig

    def network(self) -> AnyNetwork:
        """Return the network."""

    def key(self) -> bytes:
        """Return bytes that identify the weights in any process."""


def make_runtime(source: Source, *, device: str, preprocessing: Preprocessing, choice: Choice) -> TorchRuntime | GraphRuntime:
    """Return the chosen runtime for a network.

    A runtime that can't be built, or whose outputs differ from torch's at fp32, is replaced by torch at fp32, with one warning.
    """
    if choice.runtime == "torch" and choice.precision in UNCHECKED:
        return _torch_runtime(source, device, preprocessing, choice.precision)
    try:
        if has_lost_threads(choice.runtime):
            raise OptionError(
                f"this process was forked from one that had used {choice.runtime}, whose threads a fork doesn't copy. "
                "It computes on one core; for more speed start processes by spawn."
            )
        if _is_graph(choice, device):
            return _graph_runtime(source, preprocessing, choice)
        return _checked_torch(source, device, preprocessing, choice)
    except Exception as error:  # torch can predict whatever error a converter raises
        reason = str(error) if isinstance(error, BcdsegError) else f"{type(error).__name__}: {str(error).strip()[:300]}"
        warnings.warn(f"{source.config.encoder} runs on {TORCH}, not on {choice}: {reason}", RuntimeFallbackWarning, stacklevel=4)
        return _torch_runtime(source, device, preprocessing)


def needs_network(source: Source, *, device: str, preprocessing: Preprocessing, choice: Choice) -> bool:
    """Return whether the chosen runtime needs the network: True unless it runs a graph that is in the cache.

    The code of a network with parts of the user's own is not in its file, so that it's needed for the key of its graph.
    """
    if not _is_graph(choice, device) or has_lost_threads(choice.runtime) or has_own_parts(source.config):
        return True
    return not has_graph(_key(source, preprocessing, RUNTIMES[choice.runtime](), choice))


def _is_graph(choice: Choice, device: str) -> bool:
    return choice.runtime != TORCH.runtime and device == "cpu"


def _torch_runtime(
    source: Source, device: str, preprocessing: Preprocessing, precision: str = TORCH.precision, *, compiled: bool = False
) -> TorchRuntime:
    from bcdseg.runtimes.torch_runtime import TorchRuntime

    return TorchRuntime(source.network(), device, preprocessing.frame, precision, compiled=compiled)


def _checked_torch(source: Source, device: str, preprocessing: Preprocessing, choice: Choice) -> TorchRuntime:
    runtime = _torch_runtime(source, device, preprocessing, choice.precision, compiled=choice.runtime == "compile")
    if reason := _disagrees(runtime, _torch_runtime(source, device, preprocessing), preprocessing, choice):
        raise ParityError(reason)
    return runtime


def _graph_runtime(source: Source, preprocessing: Preprocessing, choice: Choice) -> GraphRuntime:
    engine: Engine = RUNTIMES[choice.runtime]()
    key = _key(source, preprocessing, engine, choice)
    graph, rejection = read_graph(key), read_graph(f"{key}.refused")
    if rejection is not None:
        raise ParityError(rejection.decode())

    def reference() -> TorchRuntime:
        return _torch_runtime(source, "cpu", preprocessing)

    if graph is not None:
        return GraphRuntime(engine, graph, choice.precision, reference)
    graph = convert(source.network(), preprocessing, engine, choice)
    runtime = GraphRuntime(engine, graph, choice.precision, reference)
    if reason := _disagrees(runtime, reference(), preprocessing, choice):
        keep_graph(f"{key}.refused", reason.encode())
        raise ParityError(reason)
    keep_graph(key, graph)
    return runtime


def convert(network: AnyNetwork, preprocessing: Preprocessing, engine: Engine, choice: Choice) -> bytes:
    """Convert a network to a graph for the inputs of a preprocessing."""
    from bcdseg.runtimes.conversion import trace

    precision = choice.precision if engine.precision_is_traced else "fp32"
    traced = trace(network, preprocessing.frame, any_size=preprocessing.resize == "none", precision=precision)
    return engine.convert(traced, choice.precision, choice.calibrate_on)


def _key(source: Source, preprocessing: Preprocessing, engine: Engine, choice: Choice) -> str:
    """Return the cache key of a graph."""
    size = "any" if preprocessing.resize == "none" else preprocessing.frame
    conversion = __version__, CONVERSION_VERSION, RawOutput._fields, engine.name, engine.version(), choice.precision, size
    parts = [repr((conversion, source.config)).encode(), source.key()]
    return graph_key([*parts, *(array.tobytes() for array in choice.calibrate_on)])


def _disagrees(runtime: Runtime, reference: Runtime, preprocessing: Preprocessing, choice: Choice) -> str | None:
    scans = choice.calibrate_on[:MOST_COMPARED] or [preprocessing(pixels).array for pixels in synthetic_scans()]
    difference = compare((_with_probabilities(reference([scan])), _with_probabilities(runtime([scan]))) for scan in scans)
    exceeded = BOUNDS[choice.precision].exceeded(difference)
    return exceeded and f"its outputs differ too much from torch's: {exceeded}."


def _with_probabilities(outputs: RawOutput) -> RawOutput:
    """Return raw outputs with class probabilities in place of logits."""
    return outputs._replace(classes=softmax(outputs.classes))
