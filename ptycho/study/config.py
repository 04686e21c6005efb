"""The parameters of a dose study, as the Makefile's variables name them, and the arms that follow from them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any

from ptycho.config import (
    ARCHITECTURES,
    DENOISER,
    DIRECT,
    FLAWS,
    LARGEST_PROBE,
    LEARNING_RATES,
    LOSSES,
    OBJECTS,
    ORIENTATIONS,
    PATTERN_SIZES,
    PATTERN_SIZES_TEXT,
    PHASE_LEARNING_RATES,
    PROBES,
    STAR,
    TARGETS,
    require,
)
from ptycho.errors import ConfigError
from ptycho.study import kinds

DOSE_NAMES = {"1e9": "high", "1e4": "low"}
"""The doses of the four-arm study have names; every other dose is called by its value."""


@dataclass(frozen=True)
class Arm:
    """One training of a study: a dose (``'1e4'``, or ``'full'`` for a measured scan as it is) and a loss."""

    dose: str
    loss: str

    @property
    def dose_name(self) -> str:
        return DOSE_NAMES.get(self.dose, self.dose)

    @property
    def name(self) -> str:
        return f"{self.dose_name}_{self.loss}"

    @property
    def asked(self) -> float | None:
        """The dose asked for, in the unit of DOSES; None for all that was measured."""
        return None if self.dose == "full" else float(self.dose)


def arms(doses: Iterable[str], losses: Iterable[str]) -> tuple[Arm, ...]:
    """The arms of a study, by dose and then by loss."""
    losses = tuple(losses)
    return tuple(Arm(dose, loss) for dose in doses for loss in losses)


def period(resolution: str) -> tuple[float, str]:
    """The full period that RESOLUTION asks for, and its unit: ('4.5' -> 4.5, 'px'), ('20nm' -> 20, 'nm').

    Raises ConfigError for other words, and for less than Nyquist's two pixels.
    """
    found = re.fullmatch(r"(\d+\.?\d*)(nm)?", resolution)
    value, unit = (float(found[1]), found[2] or "px") if found else (0.0, "px")
    least = 2 if unit == "px" else 0
    accepted = "a full period in object pixels, 2 or more, like 4.5, or in nanometres, like 20nm"
    require(value > 0 and value >= least, "RESOLUTION", resolution, accepted)
    return value, unit


def default_architecture(scan: str | None) -> str:
    """The network of a study that names none: of a simulated scan that of the published study, else the best."""
    return DENOISER if scan else "unrolled"


_DOSE = re.compile(r"[1-9](\.\d*[1-9])?e(0|[1-9]\d?)")  # one spelling a number: arms are named by it


def _asked(default: Any, meaning: str, choices: tuple[Any, ...] = ()) -> Any:
    """A field with what the command line says of it."""
    return field(default=default, metadata={"meaning": meaning, "choices": choices})


@dataclass(frozen=True)
class StudyConfig:
    """The parameters of a dose study, with their meaning; the names in upper case are the Makefile's variables.

    ``scan`` is None for a simulated study, otherwise a file of any of ``formats.FORMATS`` or ``'siemens-star'``.
    ``N`` is None when the scan decides it. Where ``learning_rate`` is None it is that of LEARNING_RATES, or of
    PHASE_LEARNING_RATES for an object that shifts the phase. :mod:`ptycho.study.kinds` says what kind of study has
    which parameters. The unit of ``doses`` is that of ``exposure.Exposure``.
    """

    nepochs: int = _asked(5, "epochs that each arm is trained for")
    N: int | None = _asked(64, f"detector pixels along a side, {PATTERN_SIZES_TEXT} (with SCAN: the scan tells it)")
    gridsize: int = _asked(2, "each group holds GRIDSIZE**2 patterns")
    n_train: int = _asked(2000, "positions of a simulated training scan")
    n_test: int | None = _asked(
        None, "positions of a simulated held-out scan (N_TRAIN: as dense, so at the same fluence)"
    )
    doses: tuple[str, ...] = _asked(
        ("1e9", "1e4"), "photons per pattern, one arm each; full: all that were measured (with SCAN: full 1e4)"
    )
    losses: tuple[str, ...] = _asked(("nll", "mae"), "losses, one arm each", LOSSES)
    seed: int = _asked(1, "what object, scan, noise and initialisation derive their seeds from")
    architecture: str = _asked("unrolled", f"the network (with SCAN: {DENOISER})", ARCHITECTURES)
    target: str = _asked("same", "photons that judge a network of groups: those that it sees, or others", TARGETS)
    learning_rate: float | None = _asked(None, "at the start, of the network, or of direct where there is no network")
    object: str = _asked("lines", "simulated object; grf is a Gaussian random field", OBJECTS)
    object_size: int | None = _asked(None, "its side in pixels (4N)")
    phase: float = _asked(0.0, "range of its phase, radians")
    illumination: str = _asked("disk", "simulated probe; a zone plate gives a defocused one", PROBES)
    flaw: str = _asked("none", "what is wrong with the simulated scan, or with what is known of it", FLAWS)
    scan: str | None = _asked(None, f"a measured scan instead of a simulated one: a file, or {STAR}")
    methods: tuple[str, ...] = _asked(
        ("unrolled", DIRECT), "of a sweep: what each arm reconstructs with, the network, the fit without one, or both"
    )
    orientation: str = _asked(
        "auto", "which way a measured scan's positions run; auto finds it", ("auto", *ORIENTATIONS)
    )
    probe_modes: int = _asked(1, f"incoherent modes of a measured scan's probe, 1 to {LARGEST_PROBE}")
    positions: str = _asked("given", "a measured scan's positions", ("given", "refine"))
    normalise: str = _asked(
        "auto",
        "of a measured scan, patterns in brighter light are thinned to the weakest, if need be",
        ("auto", "none"),
    )
    probe: str = _asked("fixed", "the probe while networks train", ("fixed", "trainable"))
    resolution: str | None = _asked(
        None, "full period that a measured scan's dose is to resolve: object pixels, like 4.5, or 20nm"
    )
    material: str | None = _asked(None, "of a measured sample, a formula like H50C30N9O10S1: its dose is told in gray")
    damage: float | None = _asked(
        None, "dose that a measured sample bears: gray with MATERIAL, else photons per um^2 or electrons per A^2"
    )
    voltage: float | None = _asked(
        None, "kilovolts: a 4D-STEM scan of graphene is simulated, and DOSES are electrons per A^2"
    )
    semi_angle: float = _asked(25.0, "of that scan: the cone of electrons that meets the sample, milliradians")
    defocus: float = _asked(20.0, "of that scan: nanometres, positive where the crossover lies behind the sample")
    step: float = _asked(1.0, "of that scan: angstrom")

    def __post_init__(self) -> None:
        for name, most in (("nepochs", 10_000), ("gridsize", 5), ("probe_modes", LARGEST_PROBE)):
            value = getattr(self, name)
            require(isinstance(value, int) and 1 <= value <= most, name.upper(), value, f"1 to {most}")
        known = self.N in PATTERN_SIZES or (self.N is None and self.scan is not None)
        require(known, "N", self.N, PATTERN_SIZES_TEXT)
        least = self.gridsize**2
        for name, value in (("N_TRAIN", self.n_train), ("N_TEST", self.heldout_positions)):
            require(value >= least, name, value, f"at least GRIDSIZE**2 = {least}")
        for name, values in (("DOSES", self.doses), ("LOSSES", self.losses), ("METHODS", self.methods)):
            accepted = "distinct doses" if name == "DOSES" else "distinct"
            require(bool(values) and len(set(values)) == len(values), name, values, accepted)
        for dose in self.doses:
            good = bool(_DOSE.fullmatch(dose)) or (dose == "full" and self.scan is not None)
            require(good, "DOSES", dose, "photons per pattern written like 1e4 or 2.5e6, or 'full' with SCAN")
        for loss in self.losses:
            require(loss in LOSSES, "LOSSES", loss, f"among {LOSSES}")
        require(isinstance(self.seed, int) and self.seed >= 0, "SEED", self.seed, "an integer >= 0")
        require(self.architecture in ARCHITECTURES, "ARCH", self.architecture, f"one of {ARCHITECTURES}")
        methods = (self.architecture, DIRECT)
        for method in self.methods:
            require(method in methods, "METHODS", method, f"among {methods}, the network being that of ARCH")
        rate = self.learning_rate
        require(rate is None or 0 < rate <= 1, "LEARNING_RATE", rate, "a number > 0, 1 at most")
        for name in ("OBJECT", "ILLUMINATION", "FLAW", "ORIENTATION", "POSITIONS", "NORMALISE", "PROBE", "TARGET"):
            value, choices = getattr(self, name.lower()), PARAMETERS[name].metadata["choices"]
            accepted = " or ".join(choices) if len(choices) == 2 else f"one of {', '.join(choices)}"
            require(value in choices, name, value, accepted)
        require(0 <= self.phase <= 3, "PHASE", self.phase, "the object's phase range in radians, 0 to 3")
        size, least = self.object_size, 2 * (self.N or 0)
        require(size is None or least <= size <= 4096, "OBJECT_SIZE", size, f"2N = {least} to 4096 pixels")
        if self.resolution is not None:
            period(self.resolution)
        kinds.refuse(self, PARAMETERS)

    @property
    def arms(self) -> tuple[Arm, ...]:
        return arms(self.doses, self.losses)

    def values(self, *names: str) -> dict[str, Any]:
        """These fields as a YAML file has them: tuples as lists."""
        found = {name: getattr(self, name) for name in names}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}

    @property
    def heldout_positions(self) -> int:
        """Those of a simulated scan."""
        return self.n_train if self.n_test is None else self.n_test

    def learning_rates(self, loss: str) -> dict[str, float]:
        """The learning rate of each method, for one loss."""
        shifts_phase = self.phase > 0 or self.scan is not None or self.voltage is not None
        known = LEARNING_RATES | ({"unrolled": PHASE_LEARNING_RATES} if shifts_phase else {})
        rates = {method: known[method][loss] for method in self.methods}
        if self.learning_rate is not None:
            rates[next((method for method in self.methods if method != DIRECT), DIRECT)] = self.learning_rate
        return rates

    @classmethod
    def from_strings(cls, values: Mapping[str, str]) -> StudyConfig:
        """Build from the Makefile's words, e.g. ``{"NEPOCHS": "5", "DOSES": "1e9 1e4"}``; empty words take defaults.

        Raises ConfigError for an unknown name, a word that is no number where one is needed, or a value that is not
        accepted.
        """
        chosen: dict[str, Any] = {}
        for name, word in values.items():
            require(name in PARAMETERS, name, word, f"the parameters are {', '.join(PARAMETERS)}")
            if word.strip():
                of = PARAMETERS[name]
                chosen[of.name] = _parse(name, word.strip(), str(of.type))
        network = chosen.get("architecture", default_architecture(chosen.get("scan")))
        defaults: dict[str, Any] = {"architecture": network, "methods": (network, DIRECT)}
        if chosen.get("scan"):
            defaults |= {"doses": ("full", "1e4"), "N": None}
        elif chosen.get("voltage"):
            defaults |= {"doses": ("1e4", "1e2")}
        return cls(**{**defaults, **chosen})


def _parse(name: str, word: str, kind: str) -> Any:
    if kind.startswith("tuple"):
        return tuple(word.split())
    if kind.startswith("str"):
        return word
    convert, accepted = (float, "a number") if kind.startswith("float") else (int, "an integer")
    try:
        return convert(word)
    except ValueError:
        raise ConfigError(f"{name}={word!r} is not accepted: {accepted}") from None


PARAMETERS: dict[str, Field[Any]] = {
    ("arch" if f.name == "architecture" else f.name).upper(): f for f in fields(StudyConfig)
}
"""The fields of StudyConfig by the names that the Makefile and messages call them."""
