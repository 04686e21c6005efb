"""The measured Siemens star: a Velociprobe scan (Advanced Photon Source) from the tests of the tike package."""

import bz2
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho.errors import DataError
from ptycho.files import replacing
from ptycho.physics.samples import to_frame
from ptycho.scans.dose import normalise
from ptycho.scans.formats.scan import Scan
from ptycho.scans.rawdata import RawData

NAME = "siemens-star-small.npz.bz2"
SHA256 = "dbce7715c1d4a7c28a48f684dacc7d343fbc5d06fe993d6ea31714ffb5c68d3d"
PACKAGE = "tike==0.26.0"
MEMBER = f"tike-0.26.0/tests/data/{NAME}"
PHOTONS = 461212.8934
"""The mean of a pattern's photons."""


def fetch(cache_dir: str | os.PathLike[str]) -> Path:
    """Return the path of the verified scan file: from `cache_dir`, or through pip.

    pip downloads the source distribution of tike 0.26.0 (26 MB); only the scan is kept, in `cache_dir`. No code of the
    package is imported. Raises DataError if the file has the wrong checksum or cannot be obtained.
    """
    path = Path(cache_dir) / NAME
    if path.exists():
        _verified(path, path.read_bytes())
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as work, replacing(path) as partial:
            partial.write_bytes(_verified(PACKAGE, _download(Path(work))))
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error}); expected a writable cache") from error
    return path


def scan(path: str | os.PathLike[str]) -> Scan:
    """The scan in the file `path` as it was measured. Raises DataError for any other file."""
    counts, x, y, probe = _arrays(path)
    return Scan(patterns=counts, x=x, y=y, metres=False, probe=probe)


def load_siemens_star(path: str | os.PathLike[str]) -> RawData:
    """The scan in the file `path`, in the units of `normalise`. Raises DataError for any other file."""
    return normalise(*_arrays(path))


def _arrays(path: str | os.PathLike[str]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Read the scan file `path`: 516 patterns of 128 x 128 counts, mean 4.6e5 photons each, and a zone-plate probe.

    Counts are shifted to put the zero frequency at N//2. The file's positions are those of a patch's first pixel (tike:
    "coordinates of the minimum corner of the probe grid"), ours of its index N//2; they are shifted so that the first
    patch starts two pixels inside the object.
    """
    try:
        with np.load(io.BytesIO(bz2.decompress(Path(path).read_bytes())), allow_pickle=False) as archive:
            data, places, probe = archive["data"][0], archive["scan"][0], archive["probe"][0, 0, 0, 0]
    except (OSError, EOFError, KeyError, ValueError, IndexError) as error:
        raise DataError(f"{path}: not the Siemens-star scan ({error}); expected {NAME} as in {PACKAGE}") from error
    # the first pixel and index N//2 differ by a constant, which to_frame fixes anyway
    x, y = to_frame(places[:, 1].astype(np.float64), places[:, 0].astype(np.float64), data.shape[-1])
    return np.fft.fftshift(data, axes=(-2, -1)), x, y, probe


def _download(work: Path) -> bytes:
    """Return the scan file's content from the source distribution that pip downloads into the folder `work`."""
    # pip insists on preparing the package's metadata, for which the machine may lack something; --no-clean keeps the
    # source that it has unpacked in TMPDIR by then, so that the scan is there whether or not this succeeded
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "tike", "--no-clean"]
    environment = {**os.environ, "TMPDIR": str(work.resolve()), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    command += ["--dest", str(work), PACKAGE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    for sdist in work.glob("tike-*.tar.gz"):
        try:
            with tarfile.open(sdist) as tar, tar.extractfile(MEMBER) as member:  # type: ignore[union-attr]
                return member.read()
        except (KeyError, EOFError, zlib.error, tarfile.TarError) as error:
            found = f"{sdist.name} as downloaded by pip: {error}"
            raise DataError(f"{found}; expected an archive with {MEMBER}") from error
    for path in work.rglob(NAME):
        return path.read_bytes()
    reason = next((line for line in done.stderr.splitlines() if line.startswith("ERROR")), "it gave no reason")
    raise DataError(f"{NAME}: pip could not download {PACKAGE} ({reason}); expected network access")


def _verified(source: str | os.PathLike[str], content: bytes) -> bytes:
    if (found := hashlib.sha256(content).hexdigest()) != SHA256:
        raise DataError(f"{source}: {NAME} has sha256 {found}; expected {SHA256}")
    return content
