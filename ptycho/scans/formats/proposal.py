"""What to do with a file of no kind known here: the layouts that come nearest to it, and a map to start from."""

import math
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

from ptycho.errors import DataError
from ptycho.scans.formats import mapped, units
from ptycho.scans.formats.containers import contents, h5, npz
from ptycho.scans.formats.containers.contents import Entry

CONTAINERS = {b"\x89HDF": "an HDF5 file", b"PK": "an NPZ file", b"MATLAB": "a MATLAB file"}
"""How files of arrays begin."""
NEAREST, MOST, ALIKE = 3, 8, 200
"""Formats, and arrays, that are told; arrays whose names are compared."""
NAMED = 0.6
"""How much an array counts whose name is right and whose place is not."""
UNKNOWN = "?"
"""A unit that the file does not state, and the reader of a map refuses."""
WORDS = {
    "energy": ("energy",),
    "wavelength": ("wavelength", "lambda"),
    "distance": ("distance", "camera_length"),
    "detector_pixel": ("pixel_size", "psize", "pixelsize", "pixel"),
    "voltage": ("voltage",),
    "semi_angle": ("semi_angle", "semiangle", "convergence"),
    "defocus": ("defocus",),
}
"""Words in the names of the numbers that a map may state."""
LEAST = 8
"""Pixels across a pattern, at least."""


def refusal(path: Path, head: bytes, formats: Sequence[ModuleType]) -> DataError:
    """What to raise for a file that begins with `head` and is none of the formats: what is in it, and what is near."""
    held = contents.listing(path)
    what = next((told for start, told in CONTAINERS.items() if head.startswith(start)), f"a file that begins {head!r}")
    if head.startswith(b"PK") and not npz.names(path):
        return DataError(f"{path}: damaged or truncated; expected a whole NPZ file")
    if head.startswith(b"\x89HDF"):
        with h5.opened(path):  # which raises what is wrong with it
            what = "an HDF5 file that holds nothing" if not held else what
    found = f"{what} that holds {_listed(held)}" if held else what
    found = f"{path}: {found}, of no kind known here"
    if not held:
        return DataError(f"{found}; expected one of {', '.join(kind.NAME for kind in formats)}")
    near = ", ".join(nearest(held, formats))
    return DataError(f"{found}; nearest are {near}; expected one of these, or a map as `ptycho inspect` proposes it")


def _listed(held: dict[str, Entry]) -> str:
    """The first few arrays; the names of a damaged file may hold anything."""
    return ", ".join(f"{k if k.isprintable() else repr(k)} {entry}" for k, entry in sorted(held.items())[:MOST])


def nearest(names: Iterable[str], formats: Iterable[ModuleType]) -> list[str]:
    """The formats of whose arrays most are here by name, and the others most alike, each with what it lacks."""
    found = [name.lower() for name in islice(names, ALIKE)]

    def likeness(wanted: str) -> float:
        last = wanted.lower().rpartition("/")[2]
        return max((_alike(wanted.lower(), last, name) for name in found), default=0.0)

    def order(kind: ModuleType) -> tuple[int, float]:
        named = sum(score >= NAMED for score in scores[kind])
        return named, sum(scores[kind]) / len(scores[kind])

    scores = {kind: [likeness(name) for name in kind.ARRAYS] for kind in formats if hasattr(kind, "ARRAYS")}
    best = sorted(scores, key=order, reverse=True)[:NEAREST]
    told = []
    for kind in best:
        lacking = [name for name, score in zip(kind.ARRAYS, scores[kind], strict=True) if score < 1]
        told.append(f"{kind.NAME} (lacks {', '.join(lacking[:3])}{' ...' if lacking[3:] else ''})")
    return told


def _alike(wanted: str, last: str, name: str) -> float:
    """1 for the same path, NAMED for the same last name, less for one that is spelt alike."""
    if name == wanted:
        return 1.0
    own = name.rpartition("/")[2]
    return NAMED if own == last else NAMED * SequenceMatcher(None, own, last).quick_ratio() / 2


def propose(path: Path) -> str:
    """The text of a map for the file, to be checked; empty where nothing in it can be patterns."""
    import yaml  # here, for a file that needs a map alone

    held = contents.listing(path)
    patterns = {key: entry for key, entry in held.items() if _is_stack(entry)}
    if not patterns:
        return ""
    key = max(patterns, key=lambda key: math.prod(patterns[key].shape))
    axes = _axes(patterns[key].shape)
    scan = [size for size, name in zip(patterns[key].shape, axes, strict=True) if name not in ("row", "column")]
    frame = [size for size, name in zip(patterns[key].shape, axes, strict=True) if name in ("row", "column")]
    lines: dict[str, Any] = {"patterns": {"from": key, "axes": " ".join(axes)}}
    lines |= _places(held, math.prod(scan)) or ({"step": f"1 {UNKNOWN}"} if len(scan) == 2 else {})
    numbers = [k for k, v in held.items() if math.prod(v.shape) == 1 and v.dtype.kind in "fiu"]
    for name, words in WORDS.items():
        if number := next((k for word in words for k in numbers if word in _last(k)), None):
            lines[name] = {"from": number, "unit": held[number].unit or UNKNOWN}
    for name in ("probe", "object"):
        if array := next((k for k, v in held.items() if v.dtype.kind == "c" and name in _last(k)), None):
            lines[name] = array
    of_pixels = [k for k, v in held.items() if sorted(v.shape) == sorted(frame) and v.dtype.kind in "biu"]
    if mask := next((k for k in of_pixels if "mask" in _last(k) or "bad" in _last(k)), None):
        lines["mask"] = {"from": mask, "valid": 0} if held[mask].dtype.kind != "b" else mask
    # each line for itself, so that a line holds one thing to check; a list of one gives any value in YAML's own quotes
    text = "".join(
        f"{name}: {yaml.safe_dump([told], default_flow_style=True, sort_keys=False, width=math.inf)[1:-2]}\n"
        for name, told in lines.items()
    )
    return f"# check each line, and keep it as {mapped.beside(path).name}\n{text}"


def _last(key: str) -> str:
    return key.rpartition("/")[2].lower()


def _is_stack(entry: Entry) -> bool:
    """Whether an array can be patterns: two axes are alike and long enough."""
    if len(entry.shape) not in (3, 4) or entry.dtype.kind not in "fiu" or 0 in entry.shape:
        return False
    return min(entry.shape[-2:]) >= LEAST or min(entry.shape[:2]) >= LEAST


def _axes(shape: tuple[int, ...]) -> list[str]:
    """The likeliest order of the axes: the frames come last where the first two axes alone are square."""
    scan = ["frame"] if len(shape) == 3 else ["slow", "fast"]
    last = shape[0] == shape[1] and shape[-2] != shape[-1]
    return ["row", "column", *scan] if last else [*scan, "row", "column"]


def _places(held: dict[str, Entry], M: int) -> dict[str, Any]:
    """x and y: two arrays of M numbers whose names differ in that letter, or two columns or rows of one table."""
    real = {k: v for k, v in held.items() if v.dtype.kind in "fiu"}
    lists = {k: v for k, v in real.items() if math.prod(v.shape) == M > 1}
    places = ((k, n) for k in lists for n, letter in enumerate(k) if letter in "xX")
    pairs = ((k, f"{k[:n]}{chr(ord(k[n]) + 1)}{k[n + 1 :]}") for k, n in places)
    for pair in pairs:
        if pair[1] in lists:
            return {axis: {"from": key, "unit": _unit(held[key])} for axis, key in zip("xy", pair, strict=True)}
    for key, entry in real.items():
        shape = [size for size in entry.shape if size > 1]
        if len(shape) == 2 and M in shape and min(shape) in (2, 3) and M > 3:
            across = "column" if shape[0] == M else "row"
            return {axis: {"from": key, across: n, "unit": _unit(entry)} for n, axis in enumerate("xy")}
    return {}


def _unit(entry: Entry) -> str:
    return entry.unit if units.kind_of(entry.unit) == "length" or entry.unit in mapped.PIXELS else UNKNOWN
