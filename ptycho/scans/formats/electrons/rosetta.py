"""MIB and EMPAD, read by RosettaSciIO (hyperspy.org/rosettasciio, GPL): an extra, `pip install "ptycho[em]"`.

    NAME.mib    Merlin and Medipix3 of Quantum Detectors: frames with a header each, their rows from the bottom, which
                RosettaSciIO turns; NAME.hdr beside it, and the time of each frame, tell the raster
    NAME.xml    EMPAD of Thermo Fisher and Cornell: settings, and the name of the raw file with frames of 128 x 128;
                full_scan_field_of_view tells the step, calibrated_pixelsize a detector pixel in 1/nm

Both hold intensity, MIB as counts, EMPAD in units of its amplifier; the slow axis of the raster comes first. Neither
tells a voltage, MIB no step either: state them in a map beside the file. Frames stay in the file. Refused: MIB's raw
mode, a raw file that is not there.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ptycho.errors import DataError
from ptycho.scans.archive import naming
from ptycho.scans.formats.electrons import raster
from ptycho.scans.formats.scan import Scan
from ptycho.scans.formats.stack import Frames

NAME = "mib or empad"
CHUNK = "4MiB"
"""Of frames read together, so that memory stays flat."""


def recognises(path: Path, hdf5: set[str], arrays: set[str]) -> bool:
    """Whether it begins as a frame of Merlin's, or is the XML of an EMPAD."""
    if hdf5 or arrays or not path.is_file():
        return False
    with open(path, "rb") as file:
        head = file.read(2**16)
    return head.startswith(b"MQ1,") or (path.suffix.lower() == ".xml" and b"<raw_file" in head)


def read(path: Path) -> Scan:
    """Read what RosettaSciIO tells of the file. Raises DataError, also where RosettaSciIO is not installed."""
    with naming(path):
        try:
            import dask
            import rsciio

            rsciio.set_log_level("ERROR")  # it warns on the standard output, among what is printed there
            reader = _reader(path)
            with dask.config.set({"array.chunk-size": CHUNK}):
                (signal,) = reader(str(path), lazy=True)
        except ModuleNotFoundError as error:
            told = f"this file is read by {error.name}, which is not installed"
            raise DataError(f'{told}; expected it after: pip install "ptycho[em]"') from error
        except Exception as error:  # of another library: a damaged file may raise anything there
            told = " ".join(str(error).split())
            raise DataError(f"RosettaSciIO cannot read it ({told}); expected a whole MIB or EMPAD file") from error
        data, axes = signal["data"], signal["axes"]
        shape = data.shape[:-2]
        steps = [(float(axis["scale"]), axis["units"] or "") for axis in axes]
        fields = raster.calibrated(shape, steps[:-2], steps[-2:], path.name)
        header = path.with_suffix(".hdr")
        if path.suffix.lower() != ".xml" and not header.is_file():
            fields["notes"] += (f"the raster {shape}, from the times of the frames: there is no {header.name}",)
        return Scan(patterns=Frames(data.reshape(-1, *data.shape[-2:]), path), **fields)


def _reader(path: Path) -> Callable[..., list[dict[str, Any]]]:
    if path.suffix.lower() == ".xml":
        from rsciio.empad import file_reader
    else:
        from rsciio.quantumdetector import file_reader
    return file_reader


def partners(path: Path) -> list[Path]:
    """The header beside a MIB, or the raw file that an EMPAD's XML names."""
    if path.suffix.lower() != ".xml":
        return [path.with_suffix(".hdr")]
    try:
        raw = ElementTree.parse(path).getroot().find(".//raw_file")
    except ElementTree.ParseError:
        return []
    return [path.with_name(raw.attrib["filename"])] if raw is not None and "filename" in raw.attrib else []
