"""Configuration of a network."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bcdseg.errors import OptionError
from bcdseg.messages import counted
from bcdseg.registry import ENCODERS, HEADS

DECODERS = (
    "unet",
    "unetplusplus",
    "manet",
    "linknet",
    "fpn",
    "pspnet",
    "deeplabv3",
    "deeplabv3plus",
    "pan",
    "upernet",
    "segformer",
)
BUILT_IN_HEADS = ("guided", "global", "hierarchical")
"""Heads of the library, which are registered when a network is built."""

ENCODER_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
"""Pattern of all encoder names of segmentation-models-pytorch and timm. For a name with a colon or a slash, timm would download a
model from the Hugging Face Hub or read a folder."""

MOST_CLASSES, MOST_CHARACTERS = 1000, 100
MOST_MEMBERS = 100
MOST_HIDDEN, MOST_DECODER_CHANNELS = 8192, 2048
"""Maximum widths of layers, so that an untrusted model can't exhaust the memory before its weights are read."""

UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")
"""Unicode categories of control characters, surrogates, line separators and paragraph separators."""

TEMPERATURES = (0.01, 100.0)
"""Smallest and largest temperature. Calibration chooses between 0.1 and 10; far outside, the scaled logits overflow."""
LARGEST_OFFSET = 20  # of a class logit; e to that power is beyond any ratio of class frequencies


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Configuration from which a network is built.

    Attributes:
        encoder: Name of an encoder of segmentation-models-pytorch or timm (``tu-`` in front), ``plain_cnn``, or a registered name.
        classes: Names of the classes, in the order of the logits; empty when ``head`` is None.
        no_lesion: Negative class ('no lesion'), or None when there is none.
        decoder: Name of a decoder in ``DECODERS``, or None for classification only.
        head: Classification head: ``"guided"`` pools features globally and under the predicted mask, ``"global"`` only globally,
            ``"hierarchical"`` decides presence of a lesion first, then its class; or a registered name; None is segmentation only.
        in_channels: Number of channels: 1 for gray scans (colour is converted to gray), 3 for colour (gray is repeated).
        decoder_channels: Width of each decoder stage, deepest first; None is the default of the decoder.
        dropout: Dropout rate before the last layer of the classification head.
        hidden: Width of the dense layer before the last one of the classification head; None is the default of the head: 128 for
            ``"guided"`` and ``"hierarchical"``, no such layer for ``"global"``.
        gated: Whether each pixel's probability is multiplied by the probability of a lesion in the scan, so that the outline
            doesn't contradict the class.
    """

    encoder: str
    classes: tuple[str, ...]
    no_lesion: str | None = None
    decoder: str | None = "unet"
    head: str | None = "guided"
    in_channels: int = 1
    decoder_channels: tuple[int, ...] | None = None
    dropout: float = 0.3
    hidden: int | None = None
    gated: bool = False

    def __post_init__(self) -> None:
        check_encoder(self.encoder)
        _check_classes(self.classes, self.head, self.no_lesion)
        _check_parts(self.decoder, self.head)
        _check_gate(self)
        _check_hierarchy(self)
        if self.in_channels not in (1, 3):
            raise OptionError(f"in_channels={self.in_channels!r} is not possible: choose 1 (gray) or 3 (colour).")
        if not 0 <= self.dropout < 1:
            raise OptionError(f"dropout={self.dropout!r} is not possible: choose a number from 0 up to, not including, 1.")
        if self.hidden is not None and not _is_width(self.hidden, MOST_HIDDEN):
            raise OptionError(
                f"hidden={self.hidden!r} is not possible: choose a width from 1 to {MOST_HIDDEN}, or None for the head's own."
            )
        if self.decoder_channels is not None and self.decoder not in ("unet", "unetplusplus", "manet"):
            raise OptionError(f"decoder_channels is an option of unet, unetplusplus and manet, not of {self.decoder!r}.")
        if not all(_is_width(width, MOST_DECODER_CHANNELS) for width in self.decoder_channels or ()):
            raise OptionError(
                f"decoder_channels={self.decoder_channels!r} is not possible: choose widths from 1 to {MOST_DECODER_CHANNELS}."
            )

    @property
    def summary(self) -> str:
        """Short description of the parts."""
        return f"{self.encoder} + {self.decoder or 'no decoder'}, {self.head or 'no'} head{', gated' * self.gated}"

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> NetworkConfig:
        """Build the config from its ``dataclasses.asdict``, also after a round trip through JSON."""
        channels = values.get("decoder_channels")
        return cls(
            **{
                **values,
                "classes": values["classes"] if isinstance(values["classes"], str) else tuple(values["classes"]),
                "decoder_channels": None if channels is None else tuple(channels),
            }
        )


@dataclass(frozen=True, kw_only=True)
class Member:
    """Configuration of one network of an ensemble, with its normalisation and temperature.

    Attributes:
        network: Configuration of the network.
        mean: Mean of each channel, which is subtracted from intensities of 0 to 1.
        std: Standard deviation of each channel; the difference is divided by it.
        temperature: Divisor of the member's class logits before the softmax.
        class_offsets: Amount added to each of its class logits after that division; empty for none.
    """

    network: NetworkConfig
    mean: tuple[float, ...]
    std: tuple[float, ...]
    temperature: float
    class_offsets: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        check_offsets(self.class_offsets)
        channels = self.network.in_channels
        finite = all(math.isfinite(value) for value in (*self.mean, *self.std))
        if not len(self.mean) == len(self.std) == channels or not finite or min(self.std) <= 0:
            raise OptionError(
                f"mean={self.mean!r}, std={self.std!r} of a member with {counted(channels, 'channel')}: give as many finite "
                "numbers, each of std above 0."
            )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Member:
        """Build the configuration from its ``dataclasses.asdict``, also after a round trip through JSON."""
        network = NetworkConfig.from_dict(values["network"])
        offsets = tuple(values.get("class_offsets", ()))
        mean, std = tuple(values["mean"]), tuple(values["std"])
        return cls(**{**values, "network": network, "mean": mean, "std": std, "class_offsets": offsets})


@dataclass(frozen=True, kw_only=True)
class EnsembleConfig:
    """Configuration from which an ensemble is built.

    Attributes:
        members: Two or more members with the same channels; those that classify have the same classes and negative class.
    """

    members: tuple[Member, ...]

    def __post_init__(self) -> None:
        if len(self.members) < 2:
            raise OptionError(f"An ensemble of {len(self.members)} has nothing to average: give two models or more.")
        if len(self.members) > MOST_MEMBERS:
            raise OptionError(f"An ensemble of {len(self.members)} members is not possible: give {MOST_MEMBERS} at most.")
        networks = [member.network for member in self.members]
        for facts, members in (("classes", self._classifiers), ("no_lesion", self._classifiers), ("in_channels", networks)):
            if len({getattr(network, facts) for network in members}) > 1:
                each = "; ".join(repr(getattr(network, facts)) for network in members)
                raise OptionError(f"The members of an ensemble must have the same {facts}, not {each}.")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> EnsembleConfig:
        """Build the configuration from its ``dataclasses.asdict``, also after a round trip through JSON."""
        return cls(members=tuple(Member.from_dict(member) for member in values["members"]))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return self._classifiers[0].classes if self._classifiers else ()

    @property
    def no_lesion(self) -> str | None:
        """Negative class ('no lesion'), or None."""
        return self._classifiers[0].no_lesion if self._classifiers else None

    @property
    def in_channels(self) -> int:
        """Number of channels: 1 for gray scans, 3 for colour."""
        return self.members[0].network.in_channels

    @property
    def encoder(self) -> str:
        """Encoders of the members, without duplicates."""
        return self._kinds(lambda network: network.encoder) or ""

    @property
    def decoder(self) -> str | None:
        """Decoders of the members, without duplicates; None when no member has one."""
        return self._kinds(lambda network: network.decoder)

    @property
    def head(self) -> str | None:
        """Classification heads of the members, without duplicates; None when no member has one."""
        return self._kinds(lambda network: network.head)

    @property
    def summary(self) -> str:
        """Short description of the members."""
        kinds = dict.fromkeys(member.network.summary for member in self.members)
        return f"{len(self.members)} members ({'; '.join(kinds)})"

    @property
    def _classifiers(self) -> list[NetworkConfig]:
        return [member.network for member in self.members if member.network.classes]

    def _kinds(self, of: Callable[[NetworkConfig], str | None]) -> str | None:
        return ", ".join(dict.fromkeys(kind for member in self.members if (kind := of(member.network)))) or None


AnyConfig = NetworkConfig | EnsembleConfig


def config_from_dict(values: dict[str, Any]) -> AnyConfig:
    """Build the config of a network or an ensemble from its ``dataclasses.asdict``, also after a round trip through JSON."""
    return EnsembleConfig.from_dict(values) if "members" in values else NetworkConfig.from_dict(values)


def has_own_parts(config: AnyConfig) -> bool:
    """Return whether a network has an encoder or a head that another package or the user has registered."""
    if isinstance(config, EnsembleConfig):
        return any(has_own_parts(member.network) for member in config.members)
    own_encoder = not config.encoder.startswith("tu-") and config.encoder in ENCODERS
    return own_encoder or config.head not in (None, *BUILT_IN_HEADS)


def check_encoder(name: Any) -> None:
    """Raise an OptionError for a name that may be a URL or a path, before a library interprets it."""
    if not isinstance(name, str) or not ENCODER_NAME.fullmatch(name):
        raise OptionError(
            f"encoder={str(name)[:MOST_CHARACTERS]!r} is not the name of an encoder: letters, digits, '_', '-' and '.' only. "
            "Weights are downloaded or read from a file when weights=... requests them, never because of a name."
        )


def check_name(name: Any, what: str) -> None:
    """Raise an OptionError for a name that can't be written to a table, a file or a page.

    Args:
        name: Name to check.
        what: Kind of the named thing, for the error message.
    """
    if not isinstance(name, str) or not name:
        raise OptionError(f"{what} {str(name)[:MOST_CHARACTERS]!r}: give a text that is not empty.")
    if len(name) > MOST_CHARACTERS:
        raise OptionError(
            f"{what} {name[:20]!r}... has {len(name)} characters: choose a name of {MOST_CHARACTERS} characters at most."
        )
    if odd := next((one for one in name if unicodedata.category(one) in UNPRINTABLE), None):
        raise OptionError(f"{what} {name!r} has the character {odd!r}, which can't be printed: choose another name.")


def check_temperature(value: Any) -> None:
    """Raise an OptionError for a temperature outside of ``TEMPERATURES``."""
    least, most = TEMPERATURES
    if not least <= value <= most:
        raise OptionError(f"temperature={value!r} is not possible: choose a number from {least:g} to {most:g}.")


def check_offsets(values: tuple[float, ...]) -> None:
    """Raise an OptionError for class offsets that are not numbers from -20 to 20."""
    if not all(abs(value) <= LARGEST_OFFSET for value in values):
        raise OptionError(f"class_offsets={values!r} are not possible: choose numbers from -{LARGEST_OFFSET} to {LARGEST_OFFSET}.")


def no_lesion_class(classes: Sequence[str], given: str | None = "auto") -> str | None:
    """Return the negative class ('no lesion'): the given one, or for ``auto`` the class ``normal`` if there is one."""
    if given != "auto":
        return given
    return next((name for name in classes if name.lower() == "normal"), None)


def _check_classes(classes: Sequence[str], head: str | None, no_lesion: str | None) -> None:
    if isinstance(classes, str) or not all(isinstance(name, str) and name for name in classes):
        raise OptionError(f"classes={classes!r}: give a list of names, for example ['benign', 'malignant'].")
    if len(classes) > MOST_CLASSES:
        raise OptionError(f"classes: there are {len(classes)}; {MOST_CLASSES} are possible.")
    for name in classes:
        check_name(name, "The class")
    if len(set(classes)) != len(classes):
        raise OptionError(f"classes={list(classes)!r} names one class twice.")
    if head is not None and len(classes) < 2:
        raise OptionError(f"classes={list(classes)!r}: a classification head needs two or more; head=None has none.")
    if head is None and classes:
        raise OptionError("head=None is segmentation only and has no classes: give classes=[].")
    if no_lesion is not None and no_lesion not in classes:
        raise OptionError(f"no_lesion={no_lesion!r} is not one of the classes {list(classes)!r}.")


def _is_width(value: Any, most: int) -> bool:
    return type(value) is int and 1 <= value <= most


def _check_parts(decoder: str | None, head: str | None) -> None:
    if decoder is not None and decoder not in DECODERS:
        raise OptionError(f"decoder={decoder!r} is unknown: choose one of {', '.join(DECODERS)}, or None for classification only.")
    if head is not None and head not in BUILT_IN_HEADS and head not in HEADS:
        names = ", ".join(dict.fromkeys((*BUILT_IN_HEADS, *HEADS)))
        raise OptionError(
            f"head={head!r} is unknown: choose one of {names}, or None for segmentation only. A head of your own has to be "
            "registered first: import its module, or install its package."
        )
    if decoder is None and head is None:
        raise OptionError("decoder=None and head=None leaves no output: keep one of them.")
    if decoder is None and head in ("guided", "hierarchical"):
        raise OptionError(f"head={head!r} pools under the predicted mask and so needs a decoder: use head='global'.")


def _check_gate(config: NetworkConfig) -> None:
    if not isinstance(config.gated, bool):
        raise OptionError(f"gated={config.gated!r}: give True or False.")
    if config.gated and (config.decoder is None or config.head is None or config.no_lesion is None):
        raise OptionError("gated=True needs a decoder, a class head and a class that means 'no lesion': no_lesion='...'.")


def _check_hierarchy(config: NetworkConfig) -> None:
    if config.head == "hierarchical" and (config.no_lesion is None or len(config.classes) < 3):
        raise OptionError(
            "head='hierarchical' decides 'lesion or not' before the class of a lesion: it needs a class that means 'no lesion' "
            f"and two or more others, and got classes={list(config.classes)!r} with no_lesion={config.no_lesion!r}."
        )
