"""Models: network, preprocessing and decision rules."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bcdseg.data.dataset import Dataset
from bcdseg.data.preprocessing import Preprocessing
from bcdseg.data.readers import each_frame, expand, is_single
from bcdseg.dicom.deidentify import PACS, choose_identity
from bcdseg.errors import OptionError
from bcdseg.inference.lesions import check_spacing
from bcdseg.inference.postprocess import Postprocessing
from bcdseg.inference.predictor import MODES, NATIVE, TILES, WHOLE, Predictor
from bcdseg.inference.rules import Rules
from bcdseg.inference.sliding_window import Tiles
from bcdseg.messages import check_choice, check_whole
from bcdseg.model.network_source import NetworkSource, SavedNetwork
from bcdseg.networks.config import AnyConfig, EnsembleConfig
from bcdseg.runtimes.base import Runtime
from bcdseg.runtimes.choice import (
    TORCH,
    Choice,
    choose_precision,
    choose_runtime,
    make_runtime,
    needs_network,
    preprocess_scans,
)
from bcdseg.runtimes.device import choose_device
from bcdseg.runtimes.tta import VIEWS, TtaRuntime
from bcdseg.sources import ImageSource
from bcdseg.table_text import html_table
from bcdseg.types import Sample

if TYPE_CHECKING:
    from bcdseg.export.export import Exported
    from bcdseg.networks.network import AnyNetwork

ON_ERROR = ("raise", "keep")


class Model:
    """Network with its preprocessing and decision rules, for prediction.

    Attributes:
        preprocessing: Preprocessing of scans before the network.
        rules: Decision rules: thresholds and calibration.
        training: Training metadata as JSON types; empty for an untrained model.
        name: Name of the model.
        device: Device of predictions: ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
    """

    def __init__(
        self,
        network: AnyNetwork | SavedNetwork,
        preprocessing: Preprocessing,
        rules: Rules | None = None,
        *,
        training: Mapping[str, Any] | None = None,
        name: str = "untitled",
        device: str = "auto",
    ) -> None:
        config = network.config
        if preprocessing.channels != config.in_channels:
            raise OptionError(
                f"The network takes {config.in_channels} channels and the preprocessing makes {preprocessing.channels}: "
                "give both the same number."
            )
        for point in rules.operating_points if rules else ():
            point.check_classes(config.classes)
        for of_classes in ("class_offsets", "conformal_thresholds") if rules else ():
            values = getattr(rules, of_classes)
            if values and len(values) != len(config.classes):
                raise OptionError(f"{len(values)} {of_classes}: give one for each of the classes {', '.join(config.classes)}.")
        self._source = NetworkSource(network)
        self.preprocessing = preprocessing
        self.rules = rules or Rules()
        self.training = dict(training or {})
        self.name = name
        self.device = choose_device(device)
        self._choice = TORCH
        self._state_of_auto: tuple[Any, ...] | None = None
        self._runtime: tuple[tuple[Any, ...], Runtime] | None = None

    @property
    def network(self) -> AnyNetwork:
        """Torch module: a network or an ensemble. It may be trained or changed; predictions use its current weights.

        A model that ``load`` has found a converted graph for predicts without torch; its network is built when it is first used.
        """
        return self._source.network()

    @property
    def config(self) -> AnyConfig:
        """Configuration of the network."""
        return self._source.config

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; empty for a segmentation-only model."""
        return self.config.classes

    @property
    def no_lesion(self) -> str | None:
        """Negative class ('no lesion'), or None."""
        return self.config.no_lesion

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
        identity: str | None = None,
        keep_identifiers: bool | None = None,
        mode: str = "whole",
        tiles: Tiles | None = None,
        tta: str = "none",
    ) -> Any:
        """Segment and classify one scan or a stream of scans.

        Args:
            source: One scan: a path (PNG, JPEG, DICOM, ...), the bytes of a file, an open file, a PIL image, a numpy array,
                a torch tensor or a pydicom ``Dataset``. Or several scans: a folder, a pattern such as ``"scans/*.png"``, a list,
                a generator, a clip (DICOM, MP4, AVI, MOV), a DICOMDIR.
            spacing: Millimetres per pixel, one number or (vertical, horizontal), for measurements in millimetres; by default the
                spacing in the DICOM file.
            threshold: Mask probability from which a pixel is outlined; by default the model's threshold.
            batch_size: Number of scans, or of their windows, per batch of the network; by default 1 on a CPU, where more is slower,
                else 16.
            on_error: Handling of scans that can't be predicted, in a stream: ``"raise"`` raises the error, ``"keep"`` yields a
                ``Failure`` in place of the prediction.
            explain: Whether to add a heat map (Grad-CAM) of a class: True for the predicted class, or the name of a class. It about
                doubles the time, and takes some extra seconds once. It is a coarse hint and not evidence.
            operating_point: Name in ``rules.operating_points`` of the one that chooses the class. The probabilities don't change; a
                warning reports that another class is the most probable one.
            frames: Frames of a clip: ``"all"``, or n for each n-th frame, starting from the first.
            identity: Use of DICOM output and pictures: ``"pacs"`` keeps patient, study and UIDs in the files of ``save_dicom_seg``
                and ``save_dicom_sr``, and burned-in annotations (names, dates) outside the regions of a DICOM frame in ``image``;
                ``"shared"``, the default, removes them.
            keep_identifiers: Deprecated: True is ``identity="pacs"``, False is ``identity="shared"``.
            mode: Inference mode: ``"whole"`` resizes each scan to the size of the network input, ``"tiles"`` runs a sliding window
                of that size at native resolution, for mammograms and panoramic scans; ``"auto"`` is ``"tiles"`` for scans of more
                than 2,048 pixels in height or width. Docs: how-to/large-images.md.
            tiles: Settings of the sliding window, in the other two modes; by default ``Tiles()``.
            tta: Test-time augmentation: ``"flip"`` adds the mirrored scan, ``"full"`` also 0.9 and 0.8 of its size. The outputs are
                averaged, and ``spread`` and ``entropy`` measure their disagreement. Prediction takes 2 and 6 times as long.

        Returns:
            A ``Prediction`` for one scan; for several an iterator of predictions, in order, which computes them lazily.

        Raises:
            OptionError: An option is not possible; the message lists the choices.
            ImageError: The one scan can't be read; in a stream, this is raised at its position.
            ImageNotFoundError: There is no such file, or the folder or pattern has no image.
        """
        self._check_options(on_error=on_error, mode=mode, tta=tta, batch_size=batch_size, frames=frames, explain=explain)
        if isinstance(source, (Dataset, Sample)) or hasattr(source, "columns"):  # a data frame is iterable by column names
            found = type(source).__name__
            raise OptionError(f"source is a {found}. Give images: [sample.image for sample in data], or a column of a data frame.")
        if threshold is not None and (isinstance(threshold, bool) or not isinstance(threshold, Real)):
            raise OptionError(f"threshold={threshold!r} is not possible: choose a number between 0 and 1.")
        if threshold is not None and self.config.decoder is None:
            raise OptionError(f"threshold={threshold!r}: {self.name} only classifies, so that no pixel is outlined. Leave it out.")
        if tiles is not None and not isinstance(tiles, Tiles):
            raise OptionError(f"tiles={tiles!r}: give the settings of the sliding window, such as Tiles(overlap=0.5).")
        if tiles is not None and mode == WHOLE:
            raise OptionError("tiles= sets the sliding window, which mode='whole' has not: give mode='tiles' or mode='auto' too.")
        identity, config, views = choose_identity(identity, keep_identifiers), self.config, VIEWS[tta]
        members = len(config.members) if isinstance(config, EnsembleConfig) else 1
        several = [f"{count} {name}" for name, count in (("members", members), ("views", len(views))) if count > 1]
        rules = self.rules if threshold is None else dataclasses.replace(self.rules, threshold=float(threshold))
        runtime = self._current_runtime()
        predictor = Predictor(
            runtime=runtime if len(views) == 1 else TtaRuntime(runtime, views, self.preprocessing, rules.calibration),
            preprocessing=self.preprocessing,
            postprocessing=Postprocessing(
                rules=rules,
                classes=config.classes,
                no_lesion=config.no_lesion,
                operating_point=None if operating_point is None else self.rules.operating_point(operating_point),
                model=self.name,
                uncertainty_from=" x ".join(several) or None,
                identity=identity,
            ),
            spacing=None if spacing is None else check_spacing(spacing),
            keep_identifiers=identity == PACS,
            mode=WHOLE if config.decoder is None else mode,
            tiles=tiles or NATIVE,
            batch_size=batch_size or (1 if self.device == "cpu" else 16),
            explain=explain if isinstance(explain, str) else bool(explain),
        )
        if is_single(source):
            return predictor.predict_one(source)
        return predictor.stream(expand(source, frames), keep_failures=on_error == "keep")

    def save(self, folder: str | Path, *, half: bool = False, overwrite: bool = False) -> Path:
        """Save the model to a folder: ``model.safetensors``, ``config.json`` and ``README.md`` (the model card).

        Args:
            folder: Output folder; it is written atomically.
            half: Whether to store the weights in 16 bits, which halves the size.
            overwrite: Whether an existing model may be replaced.
        """
        from bcdseg.model.saving import save_model

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
        """Export the whole model, from scan to mask and probabilities, to a file that runs without this library.

        The exported model is run before the file is written, and rejected if its outputs differ from the model's.

        Args:
            path: Output file; for OpenVINO the ``.xml``, with the ``.bin`` next to it.
            format: Name of the format: ``onnx`` (.onnx), ``openvino`` (.xml), ``litert`` (.tflite), ``torch`` (.pt2, of
                ``torch.export``) or ``monai`` (.zip, a MONAI bundle); by default the format of the suffix.
            precision: Precision of the weights: ``fp32``, ``fp16`` or ``int8``.
            check_on: Scans for the check of the outputs, besides synthetic ones; any source of ``predict``.
            calibrate_on: Some dozens of scans for the calibration of int8 ranges and for the check of the outputs.
            overwrite: Whether an existing file may be replaced.

        Returns:
            Paths, size and measured difference of the exported model.

        Raises:
            ParityError: The outputs of the exported model differ too much from the model's.
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
        """Upload the model to the Hugging Face Hub as ``owner/name``; ``bcdseg.load("hf://owner/name")`` loads it.

        Args:
            repository: Owner and name. A model of this name is replaced; its earlier revisions stay available.
            private: Whether only its owner can load it.
            token: Token with the right to write; by default that of ``hf auth login``.

        Returns:
            The address of the model's page.

        Raises:
            OptionError: ``repository`` is not of the form owner/name, or ``private`` is True and the repository is public.
            WeightsUnavailableError: The upload failed.

        Example:
            >>> model.push_to_hub("owner/name", private=True)
        """
        from bcdseg.model.saving import push

        return push(self, repository, private=private, token=token)

    @property
    def card(self) -> str:
        """The model card, in Markdown."""
        from bcdseg.model.saving import write_card

        return write_card(self)

    def __repr__(self) -> str:
        parts = self.config.summary
        trained = "" if self.training else ", untrained"
        return f"<Model {self.name}: {parts}, classes {', '.join(self.classes) or 'none'}, on {self.device}{trained}>"

    def _repr_html_(self) -> str:
        height, width = self.preprocessing.size
        rows = [
            ("network", self.config.summary),
            ("classes", ", ".join(self.classes) or "none"),
            ("input", f"{height} x {width} pixels, {self.preprocessing.resize}"),
            ("device", self.device),
            ("trained", "yes" if self.training else "no"),
        ]
        return html_table(self.name, rows)

    def refresh(self) -> None:
        """Discard the copy of the network that predictions use, so that the next prediction copies it again.

        This is needed only after changes that torch doesn't track: in-place writes to ``parameter.data`` or through numpy. Changes
        by optimisers, ``load_state_dict`` and replaced layers are detected.
        """
        self._source.forget_file()
        self._runtime = None

    def run_on(self, runtime: str = "auto", *, precision: str = "auto", calibrate_on: Any = None) -> Model:
        """Select the runtime and precision of the network.

        Outputs agree with torch at fp32 within documented bounds; a runtime that exceeds them is replaced by torch, with a warning.

        Args:
            runtime: Name of the runtime: ``torch``, ``compile`` (torch.compile, which needs a C++ compiler, and half a minute the
                first time; on CUDA also CUDA graphs), ``openvino``, ``onnxruntime``, or ``auto``: the fastest installed runtime
                while the weights are unchanged, and torch once they change.
            precision: Name of the precision: ``fp32``, ``fp16``, ``bf16`` or ``int8``; the last two are faster and agree slightly
                less. ``auto`` is ``fp16`` on CUDA, where it agrees with ``fp32``, and ``fp32`` elsewhere. OpenVINO's ``bf16``
                agrees less than ``runtime="auto"`` allows, so its runtime must be selected by name.
            calibrate_on: Some dozens of scans for the calibration of int8 ranges; any source of ``predict``.

        Returns:
            The model itself.

        Raises:
            OptionError: The runtime or precision is unknown, or not available on the device.
        """
        precision = choose_precision(precision, device=self.device)
        name = choose_runtime(runtime, precision=precision, device=self.device)
        if (precision == "int8") != (calibrate_on is not None):
            raise OptionError("int8 takes its ranges from scans: give calibrate_on= together with precision='int8', and only then.")
        scans = () if calibrate_on is None else preprocess_scans(calibrate_on, self.preprocessing)
        self._choice = Choice(runtime=name, precision=precision, calibrate_on=scans)
        self._state_of_auto = (self.device, *self._source.state()) if runtime == "auto" else None
        self._runtime = None
        return self

    def weights_key(self) -> bytes:
        """Return bytes that identify the weights: the checksum of their file, or a hash of weights that are new or changed."""
        return self._source.key()

    def read_weights(self) -> None:
        """Build the network from the weights file, or only check the file where predictions run a graph in the cache.

        Raises:
            ModelFileError: The file is damaged, or of another network.
        """
        if needs_network(self._source, device=self.device, preprocessing=self.preprocessing, choice=self._choice):
            self._source.network()
        else:
            self._source.keep_content()

    @property
    def runtime(self) -> str:
        """Selected runtime: ``torch``, ``compile``, ``openvino`` or ``onnxruntime``, also after a fallback with a warning."""
        return self._choice.runtime

    @property
    def precision(self) -> str:
        """Selected precision: ``fp32``, ``fp16``, ``bf16`` or ``int8``, also after a fallback with a warning."""
        return self._choice.precision

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_runtime": None}  # a runtime can't be pickled; it is created again on demand

    def _check_options(
        self, *, on_error: str, mode: str, tta: str, batch_size: int | None, frames: str | int, explain: bool | str
    ) -> None:
        """Raise an error for an option of ``predict`` that has no such value, or that needs a head that the network lacks."""
        for option, value, choices in (("on_error", on_error, ON_ERROR), ("mode", mode, MODES), ("tta", tta, tuple(VIEWS))):
            check_choice(option, value, choices)
        if batch_size is not None:
            check_whole(1, batch_size=batch_size)
        each_frame(frames)
        config = self.config
        if not config.classes and (explain or not isinstance(explain, (bool, np.bool_))):
            raise OptionError(f"explain={explain!r}: {self.name} only segments, and has no class to explain.")
        if not isinstance(explain, (bool, np.bool_)) and explain not in config.classes:
            raise OptionError(f"explain={explain!r}: choose True, or one of the classes {', '.join(config.classes)}.")
        if mode == TILES and config.decoder is None:
            raise OptionError(f"mode={mode!r}: {self.name} only classifies, which it does from whole scans: choose whole or auto.")

    def _current_runtime(self) -> Runtime:
        """Return the runtime of the network, created again after its weights have changed or a fork has lost its threads."""
        state = (self.device, *self._source.state())
        if self._runtime is None or self._runtime[0] != state or self._runtime[1].has_lost_threads:
            choice = TORCH if self._state_of_auto not in (None, state) else self._choice
            runtime = make_runtime(self._source, device=self.device, preprocessing=self.preprocessing, choice=choice)
            self._runtime = state, runtime
        return self._runtime[1]
