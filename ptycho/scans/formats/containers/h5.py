"""What the HDF5 formats share: opening, reading one dataset, and writing patterns.

HDF5 itself decompresses gzip, szip and LZF. The filters of detectors (bitshuffle with LZ4 or Zstandard, Blosc) are in
hdf5plugin, which is imported when a dataset wants one of them, and not before.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5o, h5z
from numpy.typing import ArrayLike, NDArray

from ptycho.errors import DataError
from ptycho.scans.archive import naming, too_dense
from ptycho.scans.formats.scan import Scan
from ptycho.scans.formats.stack import Stack

TOLD = {
    "unable to lock file": "locked by another program, which may be writing it; expected a file that is closed",
    "already open for write": "still being written, or never closed by its writer (h5clear -s closes it)",
    "can't open file": "a link in it leads to a file that is not there, or is damaged; expected the file",
    "signature not found": "it, or a file that it links to, is damaged or no HDF5 file; expected a whole one",
    "too many links": "links in it lead in a circle; expected data",
}
"""Words of HDF5's errors, and what they mean."""
DEPTH = 8
"""Groups in groups that are looked into, at most: no format has more, and a link may lead back."""
DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError)
"""What h5py and NumPy raise for a damaged file, or one that declares more than there is."""


def names(path: Path) -> set[str]:
    """The names at the root of an HDF5 file; none for a file that is not one, or damaged."""
    with suppress(OSError, RuntimeError), h5py.File(path, "r") as file:
        return {name for name in file if isinstance(name, str)}  # one that is no text comes as bytes
    return set()


def linked(path: Path) -> list[Path]:
    """The files that an HDF5 file refers to, as far as they are there, where HDF5 looks for them: beside `path`, and
    beside what it is a link to. By external links, virtual datasets and external storage."""
    found: list[str] = []
    with suppress(OSError, RuntimeError, KeyError), h5py.File(path, "r") as file:

        def look(name: str, link: Any) -> None:
            item = file[name] if isinstance(link, h5py.HardLink) else None
            if isinstance(link, h5py.ExternalLink):
                found.append(link.filename)
            elif isinstance(item, h5py.Dataset):
                found.extend(source.file_name for source in (item.virtual_sources() if item.is_virtual else ()))
                found.extend(name for name, _, _ in item.external or ())

        file.visititems_links(look)
    here = path.resolve()
    # os.path, which takes a name that no file can have for one that is not there
    others = dict.fromkeys(os.path.realpath(folder / name) for name in found for folder in (path.parent, here.parent))
    return [Path(other) for other in others if os.path.isfile(other) and other != str(here)]


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, open for reading. Whatever is wrong with it becomes one DataError that names it."""
    with naming(path):
        try:
            with h5py.File(path, "r") as file:
                yield file
        except DataError:
            raise
        except DAMAGE as error:
            damaged = f"damaged or truncated ({error}); expected a whole HDF5 file"
            raise DataError(next((told for words, told in TOLD.items() if words in str(error)), damaged)) from error


def text(value: Any) -> str:
    """An attribute, or a dataset of one text, as str."""
    value = value[0] if isinstance(value, np.ndarray) and value.size == 1 else value
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def walk(group: h5py.Group, depth: int = DEPTH) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
    """All groups and datasets below, each once, under the names by which `group` reaches them: an external link has
    another name at its end. What is linked to and not there is passed over."""
    seen: set[tuple[int, int]] = set()

    def below(group: h5py.Group, prefix: str, depth: int) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
        for name in group:
            item = group.get(name) if isinstance(name, str) else None
            if not isinstance(item, h5py.Group | h5py.Dataset):
                continue
            told = h5o.get_info(item.id)
            if (where := (told.fileno, told.addr)) in seen:
                continue
            seen.add(where)
            yield f"{prefix}/{name}", item
            if isinstance(item, h5py.Group) and depth:
                yield from below(item, f"{prefix}/{name}", depth - 1)

    yield from below(group, group.name.rstrip("/"), depth)


def array(file: h5py.File, key: str, kinds: str = "fiu") -> NDArray[Any] | None:
    """The dataset `key` in full, or None where there is none. DataError unless its type is of `kinds`."""
    item = file.get(key)
    if item is None:
        return None
    if not isinstance(item, h5py.Dataset):
        raise DataError(f"{key} is a group; expected a dataset")
    if item.dtype.kind not in kinds:
        raise DataError(f"{key} has type {item.dtype}; expected numbers of kind {kinds!r}")
    plausible(key, item)
    decodable(key, item)
    return np.asarray(item[()])


def scalar(file: h5py.File, key: str) -> float | None:
    """One number, or None where there is none."""
    value = array(file, key)
    if value is not None and value.size != 1:
        raise DataError(f"{key} has shape {value.shape}; expected one number")
    return None if value is None else float(value.item())


def stack(file: h5py.File, *keys: str, axes: tuple[int, ...] | None = None) -> Stack | None:
    """The datasets `keys`, unread, as patterns (M, H, W); None where the first is missing.

    A raster (A, B, H, W) is A B patterns, row by row. `axes` tells where another order of axes has its slow and fast
    ones, its rows and its columns, as in Stack. Raises DataError for a wrong type or shape, and for an unknown filter.
    """
    if not keys or keys[0] not in file:
        if keys and (link := file.get(keys[0], getlink=True)) is not None:
            to = " of ".join(getattr(link, name) for name in ("path", "filename") if hasattr(link, name))
            raise DataError(f"{keys[0]} links to {to}, which is not there; expected the patterns")
        return None
    found = {key: file[key] for key in keys}
    first = found[keys[0]]
    axes = tuple(range(getattr(first, "ndim", 0))) if axes is None else axes
    for key, item in found.items():
        if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiu":
            raise DataError(f"{key} is {item!r}; expected a dataset of real numbers")
        if item.ndim < 3 or item.ndim != len(axes) or any(item.shape[a] != first.shape[a] for a in axes[-2:]):
            raise DataError(f"{key} has shape {item.shape}; expected patterns (M, N, N), or a raster (A, B, N, N)")
        plausible(key, item)
        decodable(key, item)
        if gone := _missing_sources(item):
            raise DataError(f"{key} is a virtual dataset, and its source {gone[0]} is not there; expected it")
    sizes = {key: math.prod(item.shape[a] for a in axes[:-2]) for key, item in found.items()}
    dtype = np.result_type(*(item.dtype for item in found.values()))
    H, W = (first.shape[a] for a in axes[-2:])
    return Stack(Path(file.filename), sizes, (H, W), dtype, np.arange(sum(sizes.values())), axes)


def decodable(key: str, item: h5py.Dataset) -> None:
    """Have at hand what decompresses a dataset. DataError, naming the filter, where nothing does."""
    if item.is_virtual:  # its sources may be compressed, and HDF5 asks for their filters while it reads
        _plugins()
    created = item.id.get_create_plist()
    for code, _, _, name in map(created.get_filter, range(created.get_nfilters())):
        if not h5z.filter_avail(code):
            _plugins()
            if not h5z.filter_avail(code):
                told = f"{code} ({name.decode(errors='replace') or 'without a name'})"
                known = "expected gzip, LZF, szip or a filter of hdf5plugin, such as bitshuffle-LZ4"
                raise DataError(f"{key} is compressed with the HDF5 filter {told}, which is unknown here; {known}")


def _plugins() -> None:
    import hdf5plugin  # noqa: F401  registers its filters with HDF5; late, since it loads a dozen libraries


def plausible(key: str, item: h5py.Dataset) -> None:
    """Refuse a dataset that declares far more than the file holds of it. Raises DataError."""
    elsewhere = item.is_virtual or item.external
    if not elsewhere and too_dense(item.size * item.dtype.itemsize, item.id.get_storage_size()):
        raise DataError(f"{key} declares {item.shape} values, of which the file holds next to none; expected data")


def _missing_sources(item: h5py.Dataset) -> list[str]:
    """The files of a virtual dataset that are not there: HDF5 reads zeros in their place."""
    sources = [source.file_name for source in item.virtual_sources()] if item.is_virtual else []
    folder = Path(item.file.filename).parent
    files = [name for name in sources if name != "." and "%" not in name]
    return [name for name in files if not (folder / name).is_file() and not Path(name).is_file()]


def put_patterns(group: h5py.Group, name: str, scan: Scan) -> h5py.Dataset:
    """Write the scan's patterns as intensity, a batch at a time. DataError for a scan without patterns."""
    dtype = scan.intensity(slice(0)).dtype
    assert scan.patterns is not None
    M, *frame = scan.patterns.shape
    item = group.create_dataset(name, (M, *frame), dtype, chunks=(1, *frame) if M else None)
    for start in range(0, M, scan.batch):
        item[start : start + scan.batch] = scan.intensity(slice(start, start + scan.batch))
    return item


def modes(probe: NDArray[Any] | None) -> NDArray[Any] | None:
    """A probe (coherent, incoherent, N, N) as (N, N) or (L, N, N): the first coherent mode."""
    if probe is None:
        return None
    if probe.ndim not in (2, 3, 4):
        raise DataError(f"the probe has shape {probe.shape}; expected 2, 3 or 4 dimensions")
    probe = probe[0] if probe.ndim == 4 else probe
    return probe[0] if probe.ndim == 3 and len(probe) == 1 else probe


def layer(found: NDArray[Any] | None) -> NDArray[Any] | None:
    """An object (1, H, W) as (H, W)."""
    if found is None or found.ndim == 2:
        return found
    if found.ndim != 3 or len(found) != 1:
        raise DataError(f"the object has shape {found.shape}; expected one layer (H, W)")
    return found[0]


def center(y: Any, x: Any) -> tuple[float, float] | None:
    """The object's centre (y, x), None unless both are known."""
    return None if y is None or x is None else (float(y), float(x))


def side(sides: ArrayLike, complaint: str) -> float | None:
    """The side of a square pixel, None where there is none. DataError with the complaint where sides differ."""
    sides = np.ravel(sides)
    if not len(sides):
        return None
    if not np.allclose(sides, sides[0], rtol=1e-3, atol=0):
        raise DataError(complaint)
    return float(sides[0])
