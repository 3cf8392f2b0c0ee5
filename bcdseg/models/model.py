"""Models: network, preprocessing and decision rules."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from numpy.typing import NDArray
from PIL.Image import Image
from torch.nn import Module

from bcdseg.data.preprocessing import Preprocessing
from bcdseg.data.readers import each_frame, expand, is_single
from bcdseg.errors import OptionError
from bcdseg.inference.lesions import check_spacing
from bcdseg.inference.prediction import Prediction
from bcdseg.inference.predictor import AUTO, NATIVE, WHOLE, Mode, Predictor
from bcdseg.inference.rules import Rules
from bcdseg.inference.sliding_window import Tiles
from bcdseg.inference.tta import choose_views, describe_sources, with_views
from bcdseg.networks.ensemble import AnyNetwork
from bcdseg.runtimes.base import Runtime
from bcdseg.runtimes.choice import TORCH, Choice, choose_precision, choose_runtime, is_lost, make_runtime, prepared_scans
from bcdseg.runtimes.torch_runtime import choose_device
from bcdseg.sources import ImageSource

if TYPE_CHECKING:
    from bcdseg.export.export import Exported

ON_ERROR = ("raise", "keep")


class Model:
    """A network with all that its answers depend on.

    Attributes:
        network: The torch module: a network, or an ensemble of them. It may be trained or changed; predictions follow.
        preprocessing: What is done to a scan before the network sees it.
        rules: Thresholds and calibration.
        training: What is known of its training, as JSON types; empty for a model that was never trained.
        name: What to call it.
        device: Where predictions run: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
    """

    def __init__(
        self,
        network: AnyNetwork,
        preprocessing: Preprocessing,
        rules: Rules | None = None,
        *,
        training: Mapping[str, Any] | None = None,
        name: str = "untitled",
        device: str = "auto",
    ) -> None:
        if preprocessing.channels != network.config.in_channels:
            raise OptionError(
                f"The network takes {network.config.in_channels} channels and the preprocessing makes {preprocessing.channels}: "
                "give both the same number."
            )
        for point in rules.operating_points if rules else ():
            point.check_classes(network.config.classes)
        self.network = network
        self.preprocessing = preprocessing
        self.rules = rules or Rules()
        self.training = dict(training or {})
        self.name = name
        self.device = choose_device(device)
        self._choice = TORCH
        self._only_while: tuple[Any, ...] | None = None
        self._runtime: tuple[tuple[Any, ...], Runtime] | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; empty for a model that only segments."""
        return self.network.config.classes

    @property
    def no_lesion(self) -> str | None:
        """The class that means 'no lesion', or None."""
        return self.network.config.no_lesion

    @overload
    def predict(
        self,
        source: bytes | Image | NDArray[Any],
        *,
        spacing: float | tuple[float, float] | None = None,
        threshold: float | None = None,
        batch_size: int | None = None,
        on_error: str = "raise",
        explain: bool | str = False,
        operating_point: str | None = None,
        frames: str | int = "all",
        keep_identifiers: bool = False,
        mode: str = "whole",
        tiles: Tiles | None = None,
        tta: str = "none",
    ) -> Prediction: ...

    @overload
    def predict(
        self,
        source: Any,
        *,
        spacing: float | tuple[float, float] | None = None,
        threshold: float | None = None,
        batch_size: int | None = None,
        on_error: str = "raise",
        explain: bool | str = False,
        operating_point: str | None = None,
        frames: str | int = "all",
        keep_identifiers: bool = False,
        mode: str = "whole",
        tiles: Tiles | None = None,
        tta: str = "none",
    ) -> Any: ...

    def predict(
        self,
        source: ImageSource | Iterable[ImageSource],
        *,
        spacing: float | tuple[float, float] | None = None,
        threshold: float | None = None,
        batch_size: int | None = None,
        on_error: str = "raise",
        explain: bool | str = False,
        operating_point: str | None = None,
        frames: str | int = "all",
        keep_identifiers: bool = False,
        mode: str = "whole",
        tiles: Tiles | None = None,
        tta: str = "none",
    ) -> Any:
        """Segment and classify one scan, or a stream of them.

        Args:
            source: One scan: a path (PNG, JPEG, DICOM, ...), the bytes of a file, an open file, a PIL image, a numpy array,
                a torch tensor or a pydicom ``Dataset``. Or many: a folder, a pattern such as ``"scans/*.png"``, a list,
                a generator, a DICOM clip, a DICOMDIR.
            spacing: Millimetres per pixel, one number or (down, across). Sizes then come in millimetres too; by default
                DICOM's own.
            threshold: Mask probability from which a pixel is outlined; by default the model's own.
            batch_size: Scans, or windows of them, that go through the network at once; by default 1 on a CPU, where more is
                slower, else 16.
            on_error: Of many: ``"raise"`` stops at a scan that can't be read, ``"keep"`` hands on a ``Failure`` in its place.
            explain: Whether to add a heat map (Grad-CAM) of where the class came from: True for the class that is called, or the
                name of one. Takes about twice as long, and some seconds once. It is a coarse hint, no evidence.
            operating_point: Name of one of ``rules.operating_points``, which then chooses the class. Probabilities stay as they
                are; a flag says where the most probable class is another.
            frames: Of a DICOM clip, ``"all"`` or n for each n-th frame, from the first on.
            keep_identifiers: Whether ``image`` keeps what a machine wrote around the scan areas of a DICOM frame: names, dates.
            mode: ``"whole"`` takes each scan through the network's own size, ``"tiles"`` cuts it into windows of that size and
                outlines at native resolution, for mammograms and panoramic scans; ``"auto"`` takes tiles for what has more than
                2,048 pixels down or across. Docs: how-to/large-images.md.
            tiles: How what is large is cut; by default ``Tiles()``.
            tta: Test-time augmentation: ``"flip"`` looks at each scan mirrored too, ``"full"`` also at 0.9 and 0.8 of its size;
                answers are averaged, and ``spread`` and ``entropy`` say how far they agree. Takes 2 and 6 times as long.

        Returns:
            A ``Prediction`` for one scan; for many an iterator of them, in order, computed as it is read from.
        """
        if on_error not in ON_ERROR:
            raise OptionError(f"on_error={on_error!r} is unknown: choose one of {', '.join(ON_ERROR)}.")
        if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
            raise OptionError(f"batch_size={batch_size}: choose 1 or more.")
        each_frame(frames)
        rules = self.rules if threshold is None else dataclasses.replace(self.rules, threshold=float(threshold))
        views = choose_views(tta)
        predictor = Predictor(
            runtime=with_views(self._ready_runtime(), views, self.preprocessing, rules.temperature),
            preprocessing=self.preprocessing,
            rules=rules,
            classes=self.classes,
            no_lesion=self.no_lesion,
            spacing=check_spacing(spacing),
            explain=self._checked_explain(explain),
            operating_point=None if operating_point is None else self.rules.operating_point(operating_point),
            name=self.name,
            keep_identifiers=keep_identifiers,
            mode=self._checked_mode(Mode(name=mode, tiles=tiles or NATIVE)),
            batch_size=batch_size or (1 if self.device == "cpu" else 16),
            uncertainty_from=describe_sources(members=len(getattr(self.network, "members", [None])), views=len(views)),
        )
        if is_single(source):
            return predictor.one(source)
        return predictor.stream(expand(source, frames), keep_failures=on_error == "keep")

    def save(self, folder: str | Path, *, half: bool = False, overwrite: bool = False) -> Path:
        """Write the model to a folder: ``model.safetensors``, ``config.json`` and ``README.md``, its card.

        Args:
            folder: Written whole or not at all.
            half: Whether to store the weights in 16 bits, at half the size.
            overwrite: Whether a model that is there may be replaced.
        """
        from bcdseg.models.io import save_model

        return save_model(self, Path(folder), half=half, overwrite=overwrite)

    def export(
        self,
        path: str | Path,
        *,
        format: str | None = None,
        precision: str = "fp32",
        check_on: Any = None,
        calibrate_on: Any = None,
        overwrite: bool = False,
    ) -> Exported:
        """Write the whole model, from scan to mask and probabilities, as a file that runs without this library.

        The file is run before it is written: one that does not answer as the model does is refused.

        Args:
            path: The file; of OpenVINO, the ``.xml``, with its ``.bin`` beside it.
            format: ``onnx`` (.onnx), ``openvino`` (.xml), ``litert`` (.tflite), ``torch`` (.pt2, of ``torch.export``) or
                ``monai`` (.zip, a MONAI bundle); by default the suffix says.
            precision: ``fp32``, ``fp16`` or ``int8``.
            check_on: Scans to check the answers on, besides drawn ones, in any form that ``predict`` takes.
            calibrate_on: For int8: some dozens of scans to take ranges from, and to check the answers on.
            overwrite: Whether a file that is there may be replaced.

        Raises:
            ParityError: Its answers are further from the model's than they may be.
        """
        from bcdseg.export.export import export
        from bcdseg.export.pipeline import Subject

        subject = Subject(network=self.network, preprocessing=self.preprocessing, rules=self.rules, name=self.name, card=self.card)
        return export(
            subject,
            Path(path),
            format=format,
            precision=precision,
            check_on=check_on,
            calibrate_on=calibrate_on,
            overwrite=overwrite,
        )

    def push_to_hub(self, repository: str, *, private: bool = False, token: str | None = None) -> str:
        """Upload the model to the Hugging Face Hub as ``owner/name``; ``bcdseg.load("hf://owner/name")`` brings it back."""
        from bcdseg.models.hub import push

        return push(self, repository, private=private, token=token)

    @property
    def card(self) -> str:
        """The model card, in Markdown."""
        from bcdseg.models.card import write_card

        return write_card(self)

    def __repr__(self) -> str:
        parts = self.network.config.summary
        trained = "" if self.training else ", untrained"
        return f"<Model {self.name}: {parts}, classes {', '.join(self.classes) or 'none'}, on {self.device}{trained}>"

    def refresh(self) -> None:
        """Forget the network's copy that is made ready for prediction.

        Needed only after changes that torch can't see: in-place writes to ``parameter.data`` or through numpy. Optimisers,
        ``load_state_dict`` and replaced layers are noticed.
        """
        self._runtime = None

    def run_on(self, runtime: str = "auto", *, precision: str = "auto", calibrate_on: Any = None) -> Model:
        """Choose what runs the network. The answers stay the same within stated bounds; what breaks them gives way to torch.

        Args:
            runtime: ``torch``, ``compile`` (torch's own compiler: needs a C++ compiler, and half a minute the first time; on CUDA
                the work is also recorded), ``openvino``, ``onnxruntime``, or ``auto``: the fastest that is installed, for as
                long as the weights stay what they are now; once they change, torch.
            precision: ``fp32``, ``fp16``, ``bf16`` or ``int8``; the last two are faster and drift a little. ``auto`` is ``fp16``
                on CUDA, where it answers as ``fp32`` does, and ``fp32`` elsewhere. OpenVINO's ``bf16`` drifts more than
                ``runtime="auto"`` allows: it has to be asked for by name.
            calibrate_on: For int8: some dozens of scans to take ranges from, in any form that ``predict`` takes.

        Returns:
            The model itself.
        """
        precision = choose_precision(precision, device=self.device)
        name = choose_runtime(runtime, precision=precision, device=self.device)
        if (precision == "int8") != (calibrate_on is not None):
            raise OptionError("int8 takes its ranges from scans: give calibrate_on= together with precision='int8', and only then.")
        scans = () if calibrate_on is None else prepared_scans(calibrate_on, self.preprocessing)
        self._choice = Choice(runtime=name, precision=precision, calibrate_on=scans)
        self._only_while = self._state() if runtime == "auto" else None
        self._runtime = None
        return self

    @property
    def runtime(self) -> str:
        """What runs the network: ``torch``, ``compile``, ``openvino`` or ``onnxruntime``, as chosen; a fallback has warned."""
        return self._choice.runtime

    @property
    def precision(self) -> str:
        """What the network is computed in: ``fp32``, ``fp16``, ``bf16`` or ``int8``, as chosen; a fallback has warned."""
        return self._choice.precision

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_runtime": None}  # made again where it is needed

    def _state(self) -> tuple[Any, ...]:
        return (self.device, *weights_state(self.network))

    def _checked_explain(self, explain: bool | str) -> bool | str:
        if explain is not False and not self.classes:
            raise OptionError(f"explain={explain!r}: {self.name} only segments, and has no class to explain.")
        if isinstance(explain, str) and explain not in self.classes:
            raise OptionError(f"explain={explain!r}: choose True, or one of the classes {', '.join(self.classes)}.")
        return explain

    def _checked_mode(self, mode: Mode) -> Mode:
        if self.network.config.decoder is not None or mode.name == WHOLE:
            return mode
        if mode.name == AUTO:
            return Mode()
        raise OptionError(f"mode={mode.name!r}: {self.name} only classifies, which it does from whole scans: choose whole or auto.")

    def _ready_runtime(self) -> Runtime:
        """The network prepared for inference, again when its weights have changed or a fork has left its threads behind."""
        state = self._state()
        if self._runtime is None or self._runtime[0] != state or is_lost(self._runtime[1]):
            choice = TORCH if self._only_while not in (None, state) else self._choice
            self._runtime = (
                state,
                make_runtime(self.network, device=self.device, preprocessing=self.preprocessing, choice=choice),
            )
        return self._runtime[1]


def weights_state(network: Module) -> list[int]:
    """Which modules and tensors a network holds, and how often each tensor was written to."""
    state: list[int] = []
    add = state.append  # this is asked before every prediction
    modules = [network]
    for module in modules:
        add(id(module))
        for child in module._modules.values():
            if child is not None:
                modules.append(child)
        for tensors in (module._parameters, module._buffers):
            for tensor in tensors.values():
                if tensor is not None:
                    add(tensor.data_ptr())
                    add(tensor._version)
    return state
