"""Training runs that the command line starts and resumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bcdseg.data.dataset import Dataset
from bcdseg.data.opening import open_dataset
from bcdseg.data.splits import PARTS, Split, content_of, load_split, split
from bcdseg.data.tables.columns import parse_pairs
from bcdseg.errors import OptionError
from bcdseg.extras import require
from bcdseg.model.create import create
from bcdseg.model.model import Model
from bcdseg.model.registry import load
from bcdseg.training.config import FitConfig, from_settings, from_values, read_values, toml_lines
from bcdseg.training.custom import Custom
from bcdseg.training.recipes import MASK, Recipe, recipe
from bcdseg.training.run import COMMAND, CONFIG, LAST, SPLIT, Run

FRACTIONS = (0.7, 0.1, 0.2)
VAL_FRACTION = 0.125  # of the training part, as in FRACTIONS
DEFAULT = "default"
NOTHING = "none"
PLACES = {"data", "recipe", "model", "weights", "teacher"}
STARTS = ("recipe", "model", "encoder")
NEW_MODEL = ("decoder", "head", "weights", "size")
MODEL_OPTIONS = (*STARTS, *NEW_MODEL, "teacher")
"""Options of the model that a configuration file may contain besides those of training."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """Command-line arguments of a training run: the data, and the model to start from.

    Attributes:
        data: Folder or table of the data set.
        layout: Layout of the data set on disk.
        columns: Columns of a table by field, such as ``image=file,label=diagnosis``, or None.
        class_map: Classes by label, such as ``Cancer=malignant``, or None.
        on_problem: Whether missing and unpaired files are an error, or ``skip`` leaves their scans out.
        resize_masks: Whether masks whose size differs from their image's are resized.
        split: A split file, or None to use the parts that the data set prescribes (without a validation part, one is divided from
            the training part), or else to split it randomly.
        recipe: Name or file of a recipe; without recipe, model and encoder the library's default recipe is used.
        model: A trained model to continue from.
        encoder: Encoder of a new model. The next four fields are for a new model too; where they are None, the recipe or
            ``bcdseg.create`` decides.
        decoder: Decoder; ``none`` is for classification only.
        head: Class head; ``none`` is for segmentation only.
        weights: Weights of the encoder: ``imagenet``, a file, or ``none``.
        size: Height and width of the network's input.
        teacher: A model to distil.
    """

    data: str
    layout: str = "auto"
    columns: str | None = None
    class_map: str | None = None
    on_problem: str = "error"
    resize_masks: bool = False
    split: str | None = None
    recipe: str | None = None
    model: str | None = None
    encoder: str | None = None
    decoder: str | None = None
    head: str | None = None
    weights: str | None = None
    size: int | None = None
    teacher: str | None = None

    def __post_init__(self) -> None:
        given = [name for name in STARTS if getattr(self, name) is not None]
        if len(given) > 1:
            raise OptionError(f"Give one of {', '.join(f'--{name}' for name in given)}: each specifies the initial model.")
        new = [f"--{name}" for name in NEW_MODEL if getattr(self, name) is not None]
        if self.model is not None and new:
            raise OptionError(f"{', '.join(new)}: for a new model; --model has its own.")

    @property
    def chosen_recipe(self) -> Recipe | None:
        """The recipe, from scratch where ``weights`` is ``none``; None when a model or an encoder is named."""
        if self.model is not None or self.encoder is not None:
            return None
        chosen = recipe(self.recipe or DEFAULT)
        return chosen.from_scratch() if self.weights == NOTHING else chosen

    def config(self, file: Mapping[str, Any], settings: Sequence[str]) -> FitConfig:
        """Return the recipe's options, overridden by those of a file, then by ``key=value`` settings."""
        chosen = self.chosen_recipe
        return from_settings(settings, from_values(file, FitConfig() if chosen is None else chosen.config()))

    def parts(self) -> Split:
        """Return the training, validation and test parts of the data set."""
        columns = parse_pairs([self.columns or ""], "--columns")
        class_map = parse_pairs([self.class_map or ""], "--class-map")
        problems: dict[str, Any] = {"on_problem": self.on_problem, "resize_masks": self.resize_masks}
        dataset = open_dataset(self.data, self.layout, columns=columns, class_map=class_map, **problems)
        if self.split is not None:
            return load_split(self.split, dataset)
        if all(sample.part is None for sample in dataset):
            return split(dataset, FRACTIONS)
        return _prescribed(dataset)

    def start(self, classes: Sequence[str], seed: int | None = None) -> Model:
        """Return the model that training starts from; the seed determines the random weights of a new model."""
        if self.model is not None:
            return load(self.model)
        given = {name: getattr(self, name) for name in NEW_MODEL}
        new: dict[str, Any] = {name: None if value == NOTHING else value for name, value in given.items() if value is not None}
        names = [] if self.head == NOTHING else classes
        chosen = self.chosen_recipe
        if chosen is not None:
            return chosen.model(names, seed=seed, **new)
        assert self.encoder is not None
        return create(self.encoder, classes=names, seed=seed, **new)


def read_options(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of the model and those of training in a configuration file, or of a run by its folder.

    Raises:
        OptionError: The file can't be read, is a recipe, or has an option that doesn't exist or isn't valid; or the folder contains
            no run.
    """
    try:
        if path.is_dir():
            if not (path / COMMAND).is_file():
                raise OptionError(
                    f"contains no run that bcdseg train started ({COMMAND} is missing). Give a file, such as {CONFIG} of a run of "
                    "bcdseg.fit, and the model with --encoder, --size and others."
                )
            command = read_values(path / COMMAND)
            values = {name: value for name, value in command.items() if name in MODEL_OPTIONS} | read_values(path / CONFIG)
        else:
            values = read_values(path)
        if isinstance(values.get("model"), dict) or "fit" in values:
            raise OptionError("is a recipe, with the sections 'model' and 'fit': give it with --recipe.")
        model = {name: values.pop(name) for name in MODEL_OPTIONS if name in values}
        for name, value in model.items():
            if type(value) is not (int if name == "size" else str):
                raise OptionError(f"{name}={value!r}: give {'a whole number' if name == 'size' else 'a text'}.")
        from_values(values)
    except OptionError as error:
        raise OptionError(f"{path}: {error}") from error
    return model, values


def overridden(file: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a file's options of the model, overridden by those of the command line: another initial model replaces the file's."""
    replaced = {*(STARTS if given.keys() & STARTS else ()), *(NEW_MODEL if "model" in given else ())}
    return {**{name: value for name, value in file.items() if name not in replaced}, **given}


def start_run(command: Command, config: FitConfig, out: Path | None) -> Run:
    """Start a run; the split and the arguments needed to resume the run are written into its folder."""
    return _run(command, config, out, resume=False)


def resume_run(folder: Path, data: Path | None, settings: Sequence[str]) -> Run:
    """Resume a run that ``start_run`` started.

    Args:
        folder: Folder of the run.
        data: Current location of the data, if they were moved.
        settings: Options that may differ from the run's, as ``key=value``.
    """
    for name in (COMMAND, CONFIG):
        if not (folder / name).is_file():
            raise OptionError(
                f"{folder}: contains no run that bcdseg train started ({name} is missing). Start it without --resume."
            )
    command = Command(**{**read_values(folder / COMMAND), "split": str(folder / SPLIT)})
    if data is not None:
        command = replace(command, data=str(data))
    if (folder / LAST).exists() and command.model is None:
        command = replace(command, weights=NOTHING)  # the checkpoint replaces the encoder's weights
    return _run(command, from_settings(settings, from_values(read_values(folder / CONFIG))), folder, resume=True)


def _run(command: Command, config: FitConfig, out: Path | None, *, resume: bool) -> Run:
    require("pytorch_lightning", extra="train", purpose="Training")
    from bcdseg.training.engine import train_model

    parts = command.parts()
    chosen = command.chosen_recipe
    train, val = (part if chosen is None else chosen.narrow(part) for part in (parts.train, parts.val))
    teacher = None if command.teacher is None else load(command.teacher)
    given = {name: value for name, value in asdict(command).items() if value is not None}
    given |= {name: _absolute(given[name]) for name in PLACES & given.keys()}
    notes = {COMMAND: toml_lines(given).encode(), SPLIT: content_of(parts)}
    start = command.start(train.classes, config.seed)
    return train_model(start, train, val, out=out, config=config, custom=Custom(), teacher=teacher, resume=resume, notes=notes)


def _absolute(place: str) -> str:
    """Return the absolute path of an existing file or folder, which is valid from any folder; return other names unchanged."""
    path, suffix = (place.removesuffix(MASK), MASK) if place.endswith(MASK) else (place, "")
    return str(Path(path).resolve()) + suffix if Path(path).exists() else place


def _prescribed(dataset: Dataset) -> Split:
    """Return the parts that the data set prescribes; a validation part that it lacks is divided from its training part."""
    without = [sample.id for sample in dataset if sample.part is None]
    if without:
        raise OptionError(
            f"{dataset.name}: prescribes the part of {len(dataset) - len(without)} scans, and of {len(without)} none "
            f"({without[0]}). Give each scan a part, or divide all scans with bcdseg split and give the file with --split."
        )
    train, val, test = (replace(dataset, samples=tuple(one for one in dataset if one.part == name)) for name in PARTS)
    if not len(train):
        raise OptionError(
            f"{dataset.name}: prescribes no training part. Divide all scans with bcdseg split and give the file with --split."
        )
    if not len(val):
        train, val, _ = split(train, (1 - VAL_FRACTION, VAL_FRACTION, 0))
    shares = (len(train) / len(dataset), len(val) / len(dataset), len(test) / len(dataset))
    return Split(train, val, test, 0, shares)
