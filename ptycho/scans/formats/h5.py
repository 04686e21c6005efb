"""What the HDF5 formats share: opening, reading one dataset, and writing a file whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ptycho.errors import DataError
from ptycho.files import replacing
from ptycho.scans.formats.scan import Patterns, Stack, batches

MAGIC = b"\x89HDF\r\n\x1a\n"


def names(path: Path) -> set[str]:
    """The names at the root of an HDF5 file; none for a file that is not one, or damaged."""
    try:
        with h5py.File(path, "r") as file:
            return set(file)
    except OSError:
        return set()


def linked(path: Path) -> list[Path]:
    """The files that an HDF5 file links to, by external links and virtual datasets, as far as they are there."""
    found: list[Path] = []
    try:
        with h5py.File(path, "r") as file:
            groups: list[h5py.Group] = [file]
            while groups:
                group = groups.pop()
                for name in group:
                    link = group.get(name, getlink=True)
                    if isinstance(link, h5py.ExternalLink):
                        found.append(path.parent / link.filename)
                    elif isinstance(link, h5py.HardLink):
                        item = group[name]
                        if isinstance(item, h5py.Group):
                            groups.append(item)
                        elif isinstance(item, h5py.Dataset) and item.is_virtual:
                            found += [path.parent / source.file_name for source in item.virtual_sources()]
    except (OSError, RuntimeError, KeyError):
        return []
    return [file for file in dict.fromkeys(found) if file.is_file() and file != path]


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, open for reading; whatever HDF5 says against it becomes one DataError."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:
        raise DataError(f"{path}: damaged or truncated ({error}); expected a whole HDF5 file") from error


def array(file: h5py.File, key: str, kinds: str = "fiu") -> NDArray[Any] | None:
    """The dataset `key` in full, or None where there is none. DataError unless its type is of `kinds`."""
    item = file.get(key)
    if item is None:
        return None
    if not isinstance(item, h5py.Dataset):
        raise DataError(f"{file.filename}: {key} is a group; expected a dataset")
    if item.dtype.kind not in kinds:
        raise DataError(f"{file.filename}: {key} has type {item.dtype}; expected numbers of kind {kinds!r}")
    return np.asarray(item[()])


def scalar(file: h5py.File, key: str) -> float | None:
    """One number, or None where there is none."""
    value = array(file, key)
    if value is None:
        return None
    if value.size != 1:
        raise DataError(f"{file.filename}: {key} has shape {value.shape}; expected one number")
    return float(value.reshape(-1)[0])


def stack(file: h5py.File, *keys: str) -> Stack | None:
    """The datasets `keys`, unread, as patterns (M, H, W); None where the first is missing."""
    if not keys or keys[0] not in file:
        return None
    found = [file[key] for key in keys]
    for key, item in zip(keys, found, strict=True):
        if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiu":
            raise DataError(f"{file.filename}: {key} is {item!r}; expected a dataset of real numbers")
        if item.ndim != 3 or item.shape[1:] != found[0].shape[1:]:
            raise DataError(f"{file.filename}: {key} has shape {item.shape}; expected patterns (M, N, N)")
    sizes = tuple(len(item) for item in found)
    return Stack(Path(file.filename), keys, sizes, found[0].shape[1:], np.result_type(*(i.dtype for i in found)))


def put_patterns(group: h5py.Group, name: str, patterns: Patterns) -> h5py.Dataset:
    """Write the patterns a batch at a time."""
    chunk = (1, *patterns.shape[1:]) if len(patterns) else None
    item = group.create_dataset(name, patterns.shape, patterns.dtype, chunks=chunk)
    start = 0
    for batch in batches(patterns):
        item[start : start + len(batch)] = batch
        start += len(batch)
    return item


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place once it is written without error; else nothing remains."""
    try:
        with replacing(path) as partial:
            yield partial
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error  # HDF5 says it in three lines
        raise DataError(f"{path}: cannot be written ({reason}); expected a writable path") from error
