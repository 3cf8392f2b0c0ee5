"""Training recipes, one TOML file each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcdseg.errors import OptionError
from bcdseg.training.config import FitConfig, from_values, read_values

if TYPE_CHECKING:
    from bcdseg.data.dataset import Dataset
    from bcdseg.model.model import Model

FOLDER = Path(__file__).parent / "recipes"
MASK = "+mask"
MASK_SUMMARY = "A U-Net on the same encoder also learns the masks, and the class head pools under the predicted mask."
RECIPES_OWN = "the recipe's own"
SUFFIXES = (".toml", ".yaml", ".yml")
PARTS = {"summary", "source", "links", "chosen", "classes", "model", "fit"}
NETWORK = (
    "encoder",
    "weights",
    "decoder",
    "head",
    "in_channels",
    "size",
    "resize",
    "decoder_channels",
    "dropout",
    "hidden",
    "gated",
)
"""Options of ``bcdseg.create`` that a recipe may set."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Named training configuration.

    Attributes:
        name: Name of the recipe; with the suffix ``+mask`` the same with a decoder added.
        summary: Description of the recipe.
        source: Where the recipe comes from.
        links: Links to its origin, its data and the paper of its encoder, as far as known.
        chosen: Choices made here because the source doesn't specify them.
        classes: Classes that the recipe is for, to which data are narrowed; None is all classes of the data.
        network: Options of ``bcdseg.create``.
        training: Options of ``FitConfig``.
    """

    name: str
    summary: str
    source: str
    links: tuple[str, ...] = ()
    chosen: str = ""
    classes: tuple[str, ...] | None = None
    network: Mapping[str, Any]
    training: Mapping[str, Any]

    @property
    def has_masks(self) -> bool:
        """Whether the recipe also trains a mask head."""
        return self.network.get("decoder") is not None

    def narrow(self, dataset: Dataset) -> Dataset:
        """Return the samples of the recipe's classes; the data set itself where the recipe is for all classes."""
        if self.classes is None:
            return dataset
        missing = [name for name in self.classes if name not in dataset.classes]
        if missing:
            raise OptionError(
                f"{self.name}: is for {', '.join(self.classes)}, and {dataset.name} has no {', '.join(missing)}: "
                f"its classes are {', '.join(dataset.classes) or 'unknown'}."
            )
        return dataset.select(sample.id for sample in dataset if sample.label in self.classes)

    def model(self, classes: Sequence[str], *, weights: str | Path | None = RECIPES_OWN, **changes: Any) -> Model:
        """Create a new model with ``bcdseg.create``.

        Args:
            classes: Classes of the data, which are narrowed first where the recipe is for some classes only.
            weights: By default the recipe's own. ``"imagenet"``, a file or folder with the encoder's weights, or None for random
                ones; for training from those use ``from_scratch()``, which also changes the training options.
            changes: Other options of ``bcdseg.create``, in place of the recipe's.

        Raises:
            OptionError: The classes are not those of the recipe, or there are none for its class head.
            WeightsUnavailableError: The recipe starts from ImageNet weights, and the hub can't be reached.
        """
        from bcdseg.model.create import create

        if self.classes is not None and set(classes) != set(self.classes):
            raise OptionError(
                f"{self.name}: is for {', '.join(self.classes)}, not for {', '.join(classes)}: narrow the data first, "
                f"bcdseg.recipe({self.name!r}).narrow(data)."
            )
        own = {} if weights == RECIPES_OWN else {"weights": weights}
        options = {**self.network, **own, **changes}
        has_head = options.get("head", True)
        if has_head and not classes:
            raise OptionError(f"{self.name}: has a class head, and the data have no labels. Label scans, or set head to none.")
        return create(**options, classes=classes if has_head else ())

    def config(self, **changes: Any) -> FitConfig:
        """Return the training options, with some of them changed."""
        return from_values({**self.training, **changes})

    def from_scratch(self) -> Recipe:
        """Return the recipe with random initial weights and no download; the encoder is then never frozen and has the full rate."""
        if self.network.get("weights") is None:
            return self
        training = {**self.training, "freeze_encoder_epochs": 0, "encoder_lr": 1.0}
        return replace(self, network={**self.network, "weights": None}, training=training)

    def with_masks(self) -> Recipe:
        """Return the ``+mask`` form: a decoder on the same encoder, and the class head that is guided by its mask."""
        network = {**self.network, "decoder": "unet", "head": "guided"}
        return replace(self, name=self.name + MASK, summary=f"{self.summary} {MASK_SUMMARY}", network=network)


def recipe(name: str | PathLike[str]) -> Recipe:
    """Return a recipe by its name, one of those that ``bcdseg.recipes()`` lists, or by the path of its file.

    Args:
        name: Name of a recipe, or the path of a TOML or YAML file. The file has a section ``model`` with options of
            ``bcdseg.create`` (without ``decoder`` the model only classifies, with a global head; with ``head = "none"`` it only
            segments), and may have a section ``fit`` with options of ``FitConfig``, and ``summary``, ``source``, ``links``,
            ``chosen`` and ``classes``. With ``+mask`` at the
            end of either, a decoder is added.

    Raises:
        OptionError: No recipe has this name, or the file isn't a recipe.

    Examples:
        >>> import bcdseg
        >>> bcdseg.recipe("cnn-binary+mask").network["encoder"]
        'plain_cnn'
    """
    text = str(name)
    if Path(text.removesuffix(MASK)).suffix.lower() in SUFFIXES:
        found = _read(Path(text.removesuffix(MASK)))
        return found.with_masks() if text.endswith(MASK) else found
    known = {one.name: one for one in recipes()}
    if text in known:
        return known[text]
    near = get_close_matches(text, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise OptionError(
        f"recipe={text!r}: no recipe has this name.{hint} There are: {', '.join(known)}; or give the path of a .toml file."
    )


@cache
def recipes() -> tuple[Recipe, ...]:
    """Return all recipes, the library's own first; one that only classifies is followed by its ``+mask`` form."""
    bare = [_read(path) for path in sorted(FOLDER.glob("*.toml"), key=lambda path: (path.stem != "default", path.stem))]
    return tuple(form for one in bare for form in ([one] if one.has_masks else [one, one.with_masks()]))


def _read(path: Path) -> Recipe:
    try:
        values = read_values(path)
        _check_parts(values)
        from_values(values.get("fit", {}))
    except OptionError as error:
        raise OptionError(f"{path}: {error}") from error
    return Recipe(
        name=path.stem,
        summary=values.get("summary", ""),
        source=values.get("source", str(path)),
        links=tuple(values.get("links", ())),
        chosen=values.get("chosen", ""),
        classes=tuple(values["classes"]) if "classes" in values else None,
        network={"decoder": None, "head": "global", **{name: _none_of(value) for name, value in values["model"].items()}},
        training=values.get("fit", {}),
    )


def _check_parts(values: Mapping[str, Any]) -> None:
    """Raise an OptionError for a file without a network, or with parts that no recipe has."""
    if unknown := sorted(values.keys() - PARTS):
        raise OptionError(f"a recipe has no {unknown[0]!r}; its parts are {', '.join(sorted(PARTS))}.")
    for section in ("model", "fit"):
        if not isinstance(values.get(section, {}), dict):
            raise OptionError(f"{section!r} is not a section of options.")
    if "encoder" not in values.get("model", {}):
        raise OptionError('has no encoder: write a section [model] with encoder = "resnet50" or another one.')
    if unknown := sorted(values["model"].keys() - NETWORK):
        raise OptionError(f"{unknown[0]!r} is not an option of [model]; there are {', '.join(NETWORK)}.")
    for name in ("summary", "source", "chosen"):
        if not isinstance(values.get(name, ""), str):
            raise OptionError(f"{name}={values[name]!r}: give a text.")
    for name in ("classes", "links"):
        given = values.get(name, [])
        if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
            raise OptionError(f"{name}={given!r}: give a list of texts.")


def _none_of(value: Any) -> Any:
    """Return None for the word none, which TOML files contain in its place; other values unchanged."""
    return None if value == "none" else value
