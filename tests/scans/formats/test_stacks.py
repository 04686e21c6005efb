"""Patterns in HDF5: compressed as detectors compress them, as a raster of four axes, and never in memory as a whole."""

import subprocess
import sys
import tracemalloc

import foreign
import h5py
import hdf5plugin
import numpy as np
import pytest
import test_electrons as electrons
import test_ptychoshelves as ptychoshelves

from ptycho.__main__ import main
from ptycho.errors import DataError
from ptycho.scans import formats
from ptycho.scans.formats.containers import h5
from ptycho.scans.formats.scan import BATCH

PLACE = "entry_1/instrument_1/detector_1/data"


def with_patterns(path, **how):
    """The CXI file of `foreign`, its patterns stored as `how` says."""
    foreign.cxi(path)
    with h5py.File(path, "r+") as file:
        del file[PLACE]
        file.create_dataset(PLACE, **how)
    return path


@pytest.mark.parametrize(
    "filters",
    [hdf5plugin.Bitshuffle(), hdf5plugin.Bitshuffle(cname="zstd"), hdf5plugin.LZ4(), hdf5plugin.Blosc()],
    ids=["bitshuffle-LZ4", "bitshuffle-Zstandard", "LZ4", "Blosc"],
)
def test_what_a_detector_compressed_is_read_exactly(filters, tmp_path, capsys):
    path = with_patterns(tmp_path / "scan.cxi", data=foreign.COUNTS, chunks=(1, foreign.N, foreign.N), **filters)
    assert np.array_equal(formats.read(path).intensity(), foreign.COUNTS)
    main(["inspect", str(path)])
    assert "(12, 64, 64) uint16, intensity, photon counts" in capsys.readouterr().out
    assert main(["convert", str(path), str(tmp_path / "out.cxi")]) == 0
    assert np.array_equal(formats.read(tmp_path / "out.cxi").intensity(), foreign.COUNTS)


def test_a_library_is_loaded_for_the_files_that_need_it_alone(tmp_path):
    """And TensorFlow for none."""
    files = {
        "": foreign.cxi(tmp_path / "plain.cxi"),
        "hdf5plugin": with_patterns(tmp_path / "packed.cxi", data=foreign.COUNTS, **hdf5plugin.Bitshuffle()),
        "scipy.io": ptychoshelves.version_5(tmp_path / "scan.mat", ptychoshelves.CONTENT),
        "yaml": foreign.cxi(tmp_path / "mapped.cxi"),
        "rsciio": electrons.mib(tmp_path),  # the last: it loads yaml too
    }
    (tmp_path / "mapped.cxi.map.yaml").write_text("defocus: 0 um")
    watched = ["tensorflow", *filter(None, files)]
    code = f"""
import sys
from ptycho.scans import formats
for path in {list(map(str, files.values()))}:
    formats.read(path).intensity()
    print(*(name for name in {watched} if name in sys.modules), sep=",")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [",".join(watched[1 : k + 1]) for k in range(len(files))]


def test_a_filter_that_nobody_knows_is_named(tmp_path):
    path = with_patterns(tmp_path / "scan.cxi", data=foreign.COUNTS)
    with h5py.File(path, "r+") as file:
        del file[PLACE]
        created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        created.set_chunk((1, 64, 64))
        created.set_filter(32123, h5py.h5z.FLAG_OPTIONAL, ())
        space, kind = h5py.h5s.create_simple((12, 64, 64)), h5py.h5t.NATIVE_UINT16
        item = h5py.h5d.create(file[PLACE.rpartition("/")[0]].id, b"data", kind, space, created)
        item.write_direct_chunk((0, 0, 0), b"packed", 0)
    with pytest.raises(DataError, match=r"data is compressed with the HDF5 filter 32123 \(without a name\)") as caught:
        formats.read(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_the_sources_of_a_virtual_dataset_may_be_compressed(tmp_path):
    with h5py.File(tmp_path / "source.h5", "w") as file:
        file.create_dataset("data", data=foreign.COUNTS, **hdf5plugin.Bitshuffle())
    path = with_patterns(tmp_path / "scan.cxi", data=foreign.COUNTS)
    layout = h5py.VirtualLayout(foreign.COUNTS.shape, foreign.COUNTS.dtype)
    layout[...] = h5py.VirtualSource(tmp_path / "source.h5", "data", foreign.COUNTS.shape)
    with h5py.File(path, "r+") as file:
        del file[PLACE]
        file.create_virtual_dataset(PLACE, layout)
    code = f"from ptycho.scans import formats; print(formats.read({str(path)!r}).intensity().sum())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == foreign.COUNTS.sum()


def test_a_raster_of_patterns_is_read_row_by_row(tmp_path, capsys):
    path = with_patterns(tmp_path / "scan.cxi", data=foreign.COUNTS.reshape(3, 4, 64, 64))
    with h5py.File(path, "r+") as file:
        translation = file["entry_1/sample_1/geometry_1/translation"][()].reshape(3, 4, 3)
        del file["entry_1/sample_1/geometry_1/translation"]
        file["entry_1/sample_1/geometry_1/translation"] = translation
    scan = formats.read(path)
    assert scan.patterns.shape == (12, 64, 64) and np.array_equal(scan.x, foreign.X_M)
    for frames in (slice(None), slice(2, 9, 3), np.array([7, 1, 1, 4]), np.arange(12) % 2 == 0, slice(0, 0)):
        assert np.array_equal(scan.patterns[frames], foreign.COUNTS[frames])
    main(["inspect", str(path)])
    assert "(12, 64, 64) uint16" in capsys.readouterr().out
    assert main(["convert", str(path), str(tmp_path / "out.cxi")]) == 0
    assert np.array_equal(formats.read(tmp_path / "out.cxi").intensity(), foreign.COUNTS)


def test_axes_in_another_order_are_put_in_order(tmp_path):
    raster = foreign.COUNTS.reshape(3, 4, 64, 64)
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["reversed"] = raster.transpose()
        file["mixed"] = raster.transpose(2, 0, 3, 1)
        for key, axes in (("reversed", (3, 2, 1, 0)), ("mixed", (1, 3, 0, 2))):
            found = h5.stack(file, key, axes=axes)
            for frames in (slice(None), slice(1, 7), np.array([11, 0, 5])):
                assert np.array_equal(found[frames], foreign.COUNTS[frames])


LONG = 20_000
"""Patterns."""


@pytest.fixture(scope="module")
def long_scan(tmp_path_factory):
    """A raster of as many, which repeats the 63 of `foreign.raster`."""
    path, scan = tmp_path_factory.mktemp("long") / "scan.cxi", foreign.raster(1e-10)
    counts, (y, x) = scan.counts, np.indices((100, 200)).reshape(2, -1) * 6 * foreign.PIXEL
    foreign.cxi(path, scan)
    with h5py.File(path, "r+") as file:
        for name in (PLACE, "entry_1/sample_1/geometry_1/translation", "entry_1/image_1", "entry_1/image_2"):
            del file[name]
        file["entry_1/sample_1/geometry_1/translation"] = np.stack([x, y], 1)
        item = file.create_dataset(PLACE, (LONG, 64, 64), "u2", chunks=(1, 64, 64), **hdf5plugin.Bitshuffle())
        item[: len(counts)] = counts
        for k in range(len(counts), LONG):  # the same bytes again: compressing them would take the test's time
            item.id.write_direct_chunk((k, 0, 0), item.id.read_direct_chunk((k % len(counts), 0, 0))[1])
    return path


def test_a_long_compressed_scan_is_converted_with_the_memory_of_a_batch(long_scan, tmp_path):
    nbytes = 2 * 64**2
    tracemalloc.start()
    formats.convert(long_scan, tmp_path / "out.cxi")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * BATCH * nbytes + 5e6 < LONG * nbytes / 10
    with h5py.File(tmp_path / "out.cxi") as file:
        assert np.array_equal(file[PLACE][LONG - 1], foreign.raster(1e-10).counts[(LONG - 1) % 63])


@pytest.mark.slow
def test_a_long_compressed_scan_is_inspected_and_planned_with_flat_memory(long_scan):
    """In MiB beyond the imports; 35 were measured. A study then holds the amplitudes, 312, and for a moment their
    counts, 625, and the amplitudes in its own units: 1280 were measured."""
    code = f"""
import resource
from pathlib import Path
import hdf5plugin, yaml
from ptycho.reconstruct import reference
from ptycho.scans import inspect
from ptycho.study import plan
from ptycho.study.config import StudyConfig

path = Path({str(long_scan)!r})
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
imported = peak()
inspect.inspect(path)
print(peak() - imported)
plan.write_plan(path.with_name("study"), StudyConfig(scan=str(path), N=None, doses=("full",)))
print(peak() - imported)
reference.load(path.name, path.parent)
print(peak() - imported)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    inspected, planned, read = map(float, done.stdout.split())
    assert inspected < 100 and planned < 100 and read < 1400
