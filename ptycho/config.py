"""What a study, an arm and a network are made of: frozen, validated, free of I/O and of heavy imports."""

from __future__ import annotations  # `make help` and a dry run take Python 3.9, too

from collections.abc import Iterable, MutableMapping
from dataclasses import asdict, dataclass, field
from math import inf
from typing import Any

from ptycho.errors import ConfigError

PATTERN_SIZES = range(32, 1025, 8)
"""Detector pixels N along a side: what the poolings of ``cnn``, two at least, leave whole and even."""
PATTERN_SIZES_TEXT = f"a multiple of 8 from {PATTERN_SIZES[0]} to {PATTERN_SIZES[-1]}"
GROUPED, DENOISER = ("unrolled", "cnn"), "denoiser"
"""The networks that see a group of patterns at a time, and the one that sees the object of the whole scan."""
ARCHITECTURES = (*GROUPED, DENOISER)
DIRECT = "direct"  # the method without a network: the loss minimised over the object's own pixels
PARTS = {"train": "train", "heldout": "heldout", DIRECT: "train", f"{DIRECT}_heldout": "heldout"}
"""Of an arm, each with the split whose scan it is of: the network and the fit without one; it may lack either."""
LOSSES = ("nll", "mae", "mse", "anscombe")
LEARNING_RATES = {
    "unrolled": {"nll": 3.2e-2, "mae": 6.4e-2, "mse": 3.2e-2, "anscombe": 3.2e-2},
    "cnn": dict.fromkeys(LOSSES, 1e-3),
    DENOISER: dict.fromkeys(LOSSES, 3e-3),
    DIRECT: dict.fromkeys(LOSSES, 5e-2),
}
"""Adam's, at the start: physics, a reconstruction already, takes larger steps than a network that starts blank.
Those of ``unrolled`` are chosen by the rule of ``findings.learning_rates`` (reports/rates); what ``direct`` resolves
does not depend on its own (reports/rates-direct)."""
PHASE_LEARNING_RATES = dict.fromkeys(LOSSES, 4e-3)
"""Those of ``unrolled`` for an object that shifts the phase, simulated or measured, by the same rule
(reports/rates-siemens-star): at the others a training of such an object can diverge."""
OBJECTS = ("lines", "grf", "siemens")
PROBES = ("disk", "gaussian", "zone_plate")
FLAWS = (
    *("none", "background", "background_known", "readout", "readout_known", "saturation", "gain", "dead_module"),
    *("dead_module_known", "beam", "jitter", "large_jitter", "defocus", "modes", "fine_grid"),
)
"""What is wrong with a simulated scan, or with what is known of it (:mod:`ptycho.physics.flaws`)."""
TARGETS = ("same", "split")
"""What judges a network: the photons that it was given, or others of the same pattern that it was not."""
ORIENTATIONS = ("as-is", "flip-y", "flip-x", "flip-xy", "swap", "swap-flip-y", "swap-flip-x", "swap-flip-xy")
"""The ways to swap the axes of a scan's positions and then reverse some (:mod:`ptycho.reconstruct.alignment`)."""
STAR = "siemens-star"  # the measured scan that has a name; every other SCAN is a file
LARGEST_PROBE = 5  # incoherent modes
HELD_OUT = 0.25
"""Share of a measured scan's positions, at the high-x side (of a tall scan, high-y), that no training sees."""


def require(holds: bool, name: str, found: object, accepted: str) -> None:
    if not holds:
        raise ConfigError(f"{name}={found!r} is not accepted: {accepted}")


def _require_integers(config: object, least: int, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        require(isinstance(value, int) and value >= least, name, value, f"an integer >= {least}")


@dataclass(frozen=True)
class ModelConfig:
    """A network for groups of ``gridsize**2`` patterns of ``N`` x ``N`` detector pixels.

    ``max_offset`` is the farthest, in object pixels along one axis, that a pattern of a group may lie from the group's
    centre; it sets the canvas a group is reconstructed on. ``blocks``, ``steps`` and ``filters`` shape the unrolled
    network, ``filters_scale`` multiplies the filters of the reference ``cnn``.
    """

    N: int = 64
    gridsize: int = 2
    architecture: str = "unrolled"
    max_offset: float = 8.0
    blocks: int = 2
    steps: int = 3
    filters: int = 16
    filters_scale: float = 1.0
    probe_trainable: bool = False

    def __post_init__(self) -> None:
        require(self.N in PATTERN_SIZES, "N", self.N, PATTERN_SIZES_TEXT)
        _require_integers(self, 1, "gridsize", "blocks", "steps", "filters")
        require(self.architecture in GROUPED, "architecture", self.architecture, f"one of {GROUPED}")
        require(0 <= self.max_offset < inf, "max_offset", self.max_offset, "a finite number of pixels, >= 0")
        require(0 < self.filters_scale < inf, "filters_scale", self.filters_scale, "a finite number > 0")

    @property
    def channels(self) -> int:
        """Patterns in one group."""
        return self.gridsize**2


@dataclass(frozen=True)
class TrainingConfig:
    """One training: which network, on how many photons per pattern, against which loss, for how long.

    ``target`` is one of TARGETS: which photons of a pattern judge what the network makes of it.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    nphotons: float = 1e9
    loss: str = "nll"
    nepochs: int = 5
    batch_size: int = 8
    learning_rate: float = LEARNING_RATES["unrolled"]["nll"]
    seed: int = 1
    target: str = "same"

    def __post_init__(self) -> None:
        require(0 < self.nphotons < inf, "nphotons", self.nphotons, "photons per pattern, a finite number > 0")
        require(self.loss in LOSSES, "loss", self.loss, f"one of {LOSSES}")
        _require_integers(self, 1, "nepochs", "batch_size")
        require(0 < self.learning_rate < inf, "learning_rate", self.learning_rate, "a finite number > 0")
        _require_integers(self, 0, "seed")
        require(self.target in TARGETS, "target", self.target, f"one of {TARGETS}")


def assigned(words: Iterable[str]) -> dict[str, str]:
    """{NAME: value} of words like ``NAME=value``. Raises ConfigError for another word."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"{word!r} is not accepted: parameters are written NAME=value")
        found[name] = value
    return found


def update_legacy_dict(cfg: MutableMapping[str, Any], config: ModelConfig | TrainingConfig) -> None:
    """Write ``config`` into the flat legacy dictionary ``cfg`` (``ptycho.params.cfg``), nested fields flattened.

    Call it before each arm: the zero-argument factories of :mod:`ptycho.model` read nothing else. Keys that ``config``
    does not know are left as they are.
    """
    values = asdict(config)
    cfg.update(values.pop("model", {}), **values)
