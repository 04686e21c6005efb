import errno
import os
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptycho.errors import DataError
from ptycho.scans import rawdata
from ptycho.scans.rawdata import RawData, as_counts

M, N = 5, 16


def contract(**changes):
    """Return the arrays of a small valid file; a change to None removes the key."""
    rng = np.random.default_rng(0)
    arrays = {
        "diff3d": rng.random((M, N, N), np.float32),
        "xcoords": rng.uniform(20, 40, M),
        "ycoords": rng.uniform(20, 40, M),
        "probeGuess": np.ones((N, N), np.complex64),
    }
    return {key: value for key, value in (arrays | changes).items() if value is not None}


def write(path, **changes):
    np.savez(path, **contract(**changes))
    return path


@settings(deadline=None, max_examples=60)
@given(
    M=st.integers(1, 6),
    N=st.sampled_from([2, 8, 16]),
    modes=st.sampled_from([None, 1, 3]),
    optional=st.sets(
        st.sampled_from(["objectGuess", "scan_index", "start", "nphotons", "intensity_scale", "mask", "pixel_size"])
    ),
    seed=st.integers(0, 2**16),
)
def test_round_trip_is_exact(tmp_path_factory, M, N, modes, optional, seed):
    rng = np.random.default_rng(seed)
    shape = (N, N) if modes is None else (modes, N, N)
    data = RawData(
        diff3d=rng.exponential(100, (M, N, N)).astype(np.float32),
        xcoords=rng.uniform(0, 39, M),
        ycoords=rng.uniform(0, 29, M),
        probeGuess=(rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64),
        objectGuess=np.exp(1j * rng.random((30, 40))).astype(np.complex64) if "objectGuess" in optional else None,
        scan_index=rng.integers(-3, 2**40, M) if "scan_index" in optional else None,
        xcoords_start=rng.random(M) if "start" in optional else None,
        ycoords_start=rng.random(M) if "start" in optional else None,
        nphotons=float(rng.exponential(1e6)) if "nphotons" in optional else None,
        intensity_scale=float(rng.exponential(1e3)) if "intensity_scale" in optional else None,
        mask=rng.random((N, N)) < 0.9 if "mask" in optional else None,
        pixel_size=float(rng.exponential(1e-8)) if "pixel_size" in optional else None,
    )
    path = tmp_path_factory.mktemp("round") / "scan.npz"
    data.save(path)
    back = RawData.load(path)
    for name in RawData.__dataclass_fields__:
        before, after = getattr(data, name), getattr(back, name)
        assert type(before) is type(after)
        if before is not None:
            assert np.array_equal(before, after) and np.asarray(before).dtype == np.asarray(after).dtype
    assert os.listdir(path.parent) == ["scan.npz"]


def test_types_are_those_of_the_contract():
    data = RawData(
        **contract(
            diff3d=np.ones((M, N, N), np.float16),
            xcoords=np.arange(M),
            ycoords=[1.0] * M,
            probeGuess=np.ones((N, N)),
            objectGuess=np.ones((50, 50), np.complex128),
            scan_index=np.zeros(M, np.uint8),
            nphotons=np.array([1000]),
        )
    )
    assert (data.diff3d.dtype, data.probeGuess.dtype) == (np.float32, np.complex64)
    assert data.xcoords.dtype == data.ycoords.dtype == np.float64
    assert (data.objectGuess.dtype, data.scan_index.dtype) == (np.complex64, np.int64)
    assert isinstance(data.nphotons, float)
    assert (data.N, len(data)) == (N, M)


def test_float64_amplitude_is_read_as_float32(tmp_path):
    values = np.random.default_rng(1).random((M, N, N))
    data = RawData.load(write(tmp_path / "scan.npz", diff3d=values))
    assert np.array_equal(data.diff3d, values.astype(np.float32))


def test_the_alias_diffraction_is_read(tmp_path):
    data = RawData.load(write(tmp_path / "scan.npz", diff3d=None, diffraction=contract()["diff3d"], label="unused"))
    assert np.array_equal(data.diff3d, contract()["diff3d"])


def test_a_stack_with_patterns_last_is_turned_round(tmp_path):
    data = RawData.load(write(tmp_path / "scan.npz", diff3d=np.moveaxis(contract()["diff3d"], 0, -1)))
    assert np.array_equal(data.diff3d, contract()["diff3d"])


def test_a_cube_is_read_in_the_order_of_the_contract(tmp_path):
    cube = np.random.default_rng(0).random((N, N, N), np.float32)
    path = write(tmp_path / "scan.npz", diff3d=cube, xcoords=np.arange(N) + 20.0, ycoords=np.arange(N) + 20.0)
    assert np.array_equal(RawData.load(path).diff3d, cube)


@pytest.mark.parametrize("key", ["diff3d", "diffraction", "counts"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint64])
def test_integer_patterns_are_counts(tmp_path, key, dtype):
    counts = np.random.default_rng(0).integers(0, np.iinfo(np.dtype("uint8")).max, (M, N, N)).astype(dtype)
    data = RawData.load(write(tmp_path / "scan.npz", **{"diff3d": None, key: counts, "intensity_scale": np.float64(7)}))
    assert data.intensity_scale == 1
    np.testing.assert_allclose(data.diff3d, np.sqrt(counts.astype(float)), rtol=1e-7)
    assert np.array_equal(data.counts(), counts)


def test_whole_floats_under_the_key_counts_are_counts(tmp_path):
    counts = np.random.default_rng(0).poisson(30, (M, N, N))
    data = RawData.load(write(tmp_path / "scan.npz", diff3d=None, counts=counts.astype(np.float32)))
    assert np.array_equal(data.counts(), counts)


@settings(deadline=None, max_examples=50)
@given(s=st.floats(1e-3, 1e6), top=st.sampled_from([10, 1000, 4_000_000]), seed=st.integers(0, 999))
def test_counts_survive_the_float32_amplitude(s, top, seed):
    counts = np.random.default_rng(seed).integers(0, top, (M, N, N))
    data = RawData(**contract(diff3d=(np.sqrt(counts) / s).astype(np.float32)), intensity_scale=s)
    assert data.counts().dtype == np.int64
    assert np.array_equal(data.counts(), counts)


def test_trap_squaring_uint16_counts():
    counts = np.full((1, N, N), 60_000, np.uint16)
    assert (counts * counts).max() < 65_536  # what squaring in the stored type does
    assert as_counts(counts).dtype == np.int64
    data = RawData(**contract(diff3d=np.sqrt(as_counts(counts)), xcoords=[20], ycoords=[20]), intensity_scale=1.0)
    assert (data.counts() == 60_000).all()
    with pytest.raises(DataError, match="diff3d has type uint16; expected an amplitude of floats"):
        RawData(**contract(diff3d=counts, xcoords=[20], ycoords=[20]))


def test_counts_of_an_unknown_scale_are_refused():
    with pytest.raises(DataError, match="intensity_scale is missing"):
        RawData(**contract()).counts()


@pytest.mark.parametrize(
    "chosen", [[0, 3], np.array([True, False, False, True, False]), slice(0, 4, 3), np.array([0, 3])]
)
def test_subset_keeps_patterns_and_positions_together(chosen):
    start = {"xcoords_start": np.arange(M) + 0.5, "ycoords_start": np.arange(M) + 0.25, "scan_index": np.arange(M)}
    data = RawData(**contract(), **start, nphotons=1e3)
    part = data.subset(chosen)
    for name in ("diff3d", "xcoords", "ycoords", *start):
        assert np.array_equal(getattr(part, name), getattr(data, name)[[0, 3]])
    assert part.nphotons == 1e3 and part.probeGuess is data.probeGuess


@pytest.mark.parametrize("nothing", [[], np.zeros(M, bool), slice(0, 0)])
def test_an_empty_subset_is_refused(nothing):
    with pytest.raises(DataError, match="diff3d holds no patterns"):
        RawData(**contract()).subset(nothing)


diff3d = contract()["diff3d"]


def changed(array, index, value):
    array = array.copy()
    array[index] = value
    return array


BAD_ARRAYS = {
    "no patterns key": ({"diff3d": None}, "patterns are missing; expected one of the keys diff3d, diffraction, counts"),
    "two patterns keys": ({"diffraction": diff3d}, "found diff3d and diffraction; expected one"),
    "no xcoords": ({"xcoords": None}, "xcoords is missing"),
    "no ycoords": ({"ycoords": None}, "ycoords is missing"),
    "no probe": ({"probeGuess": None}, "probeGuess is missing"),
    "rank": ({"diff3d": diff3d[0]}, r"diff3d has shape \(16, 16\); expected 3 dimensions"),
    "not square": ({"diff3d": diff3d[:, :, :8]}, r"diff3d has shape \(5, 16, 8\) for 5 positions"),
    "odd N": ({"diff3d": diff3d[:, :15, :15]}, r"diff3d has shape \(5, 15, 15\); expected .* N even"),
    "ambiguous stack": ({"diff3d": np.ones((16, 16, 7))}, r"diff3d has shape \(16, 16, 7\) for 5 positions"),
    "complex": ({"diff3d": diff3d.astype(complex)}, "diff3d has type complex128; expected an amplitude of floats"),
    "boolean": ({"diff3d": diff3d > 0}, "diff3d has type bool"),
    "text": ({"diff3d": np.full((M, N, N), "a")}, "diff3d has type <U1"),
    "NaN": ({"diff3d": changed(diff3d, (2, 3, 4), np.nan)}, r"diff3d holds nan at index \(2, 3, 4\)"),
    "infinity": ({"diff3d": changed(diff3d, (2, 3, 4), np.inf)}, r"diff3d holds inf at index \(2, 3, 4\)"),
    "overflow": ({"diff3d": changed(diff3d.astype(float), (0, 0, 1), 1e300)}, r"diff3d holds 1e\+300 at index"),
    "negative": ({"diff3d": changed(diff3d, (2, 3, 4), -0.5)}, r"negative amplitude \(as low as -0.5\); expected"),
    "negative counts": ({"diff3d": np.full((M, N, N), -1)}, r"diff3d holds negative values \(as low as -1\)"),
    "fractional counts": ({"diff3d": None, "counts": diff3d}, "counts holds values that are not whole numbers"),
    "empty scan": ({"diff3d": diff3d[:0], "xcoords": [], "ycoords": []}, "diff3d holds no patterns"),
    "short xcoords": ({"xcoords": np.ones(4)}, "xcoords has 4 values; expected 5"),
    "long ycoords": ({"ycoords": np.ones(6)}, "ycoords has 6 values; expected 5"),
    "NaN in xcoords": ({"xcoords": np.full(M, np.nan)}, r"xcoords holds nan at index \(0,\)"),
    "complex ycoords": ({"ycoords": np.ones(M, complex)}, "ycoords has type complex128; expected real numbers"),
    "rank of xcoords": ({"xcoords": np.ones((M, 1))}, r"xcoords has shape \(5, 1\); expected 1 dimension"),
    "probe of other N": ({"probeGuess": np.ones((8, 8), complex)}, r"probeGuess has shape \(8, 8\); .* N = 16"),
    "probe of no mode": ({"probeGuess": np.ones((0, N, N))}, r"probeGuess has shape \(0, 16, 16\)"),
    "probe rank": ({"probeGuess": np.ones(N)}, r"probeGuess has shape \(16,\); expected 2 or 3 dimensions"),
    "NaN probe": ({"probeGuess": np.full((N, N), np.nan + 0j)}, "probeGuess holds"),
    "object rank": ({"objectGuess": np.ones(9)}, r"objectGuess has shape \(9,\); expected 2 dimensions"),
    "outside object": (
        {"objectGuess": np.ones((30, 90)), "ycoords": np.full(M, 29.5)},
        "position 0 .* outside objectGuess",
    ),
    "scan_index type": ({"scan_index": np.ones(M)}, "scan_index has type float64; expected integers"),
    "scan_index length": ({"scan_index": np.arange(3)}, "scan_index has 3 values; expected 5"),
    "half a start": ({"xcoords_start": np.ones(M)}, "only one of xcoords_start and ycoords_start"),
    "nphotons 0": ({"nphotons": 0.0}, "nphotons is 0.0; expected one finite number > 0"),
    "nphotons NaN": ({"nphotons": np.nan}, "nphotons is nan"),
    "nphotons text": ({"nphotons": "1e9"}, "nphotons is 1e9; expected one finite number"),
    "mask of other N": ({"mask": np.ones((8, 8), bool)}, r"mask is bool \(8, 8\); expected \(N, N\) .* N = 16"),
    "mask of numbers": ({"mask": np.full((N, N), 0.5)}, "mask is float64"),
    "mask of bits": ({"mask": np.full((N, N), 16)}, "expected .* True where valid"),
    "mask of nothing": ({"mask": np.zeros((N, N), bool)}, "mask leaves no valid pixel"),
    "pixel_size 0": ({"pixel_size": 0}, "pixel_size is 0; expected one finite number > 0"),
    "two scales": ({"intensity_scale": np.ones(2)}, r"intensity_scale is an array of shape \(2,\)"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays_give_one_clear_message(tmp_path, case):
    changes, message = BAD_ARRAYS[case]
    path = write(tmp_path / "scan.npz", **changes)
    with pytest.raises(DataError, match=message) as caught:
        RawData.load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and text.count(str(path)) == 1 and "\n" not in text


def test_pickled_arrays_are_never_loaded(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "exploded"),))

    path = tmp_path / "scan.npz"
    np.savez(path, **contract(), objectGuess=np.array([Bomb()], dtype=object))
    with pytest.raises(DataError, match=r"scan.npz: objectGuess holds pickled Python objects, which are never loaded"):
        RawData.load(path)
    (tmp_path / "bare.npz").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match=r"bare.npz: not an NPZ file"):
        RawData.load(tmp_path / "bare.npz")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("keep", [0, 3, 100, 0.3, 0.9, -1])
def test_a_truncated_file_is_refused(tmp_path, keep):
    path = write(tmp_path / "scan.npz")
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(DataError, match=r"scan.npz: not an NPZ file, or a truncated one"):
        RawData.load(path)


@pytest.mark.parametrize("at", [0.2, 0.5])
def test_a_damaged_array_is_refused(tmp_path, at):
    path = write(tmp_path / "scan.npz")
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"scan.npz: diff3d is damaged or truncated"):
        RawData.load(path)


def test_an_archive_of_something_else_is_refused(tmp_path):
    path = tmp_path / "scan.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("diff3d.npy", b"not an array")
    with pytest.raises(DataError, match="diff3d is damaged or truncated"):
        RawData.load(path)


def test_what_is_not_an_npz_file_is_refused(tmp_path):
    np.save(tmp_path / "array.npy", np.ones(3))
    (tmp_path / "text.npz").write_text("not an archive")
    for path, message in (
        (tmp_path / "array.npy", "not an NPZ file"),
        (tmp_path / "text.npz", "not an NPZ file"),
        (tmp_path / "none.npz", r"cannot be read \(No such file"),
        (tmp_path, r"cannot be read \(Is a directory"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            RawData.load(path)
        assert str(caught.value).startswith(f"{path}: ")


def test_unwritable_destinations_are_named(tmp_path):
    data = RawData(**contract())
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "none" / "scan.npz", tmp_path / "file" / "scan.npz", tmp_path / "folder"):
        with pytest.raises(DataError, match="cannot be written") as caught:
            data.save(path)
        assert str(caught.value).startswith(f"{path}: ")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


@pytest.mark.parametrize("fails", ["write", "fsync"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, fails):
    path = write(tmp_path / "scan.npz")
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def half_written(file, **_):
        file.write(b"half")
        full()

    if fails == "write":
        monkeypatch.setattr(rawdata.np, "savez", half_written)
    else:
        monkeypatch.setattr(rawdata.os, "fsync", full)
    with pytest.raises(DataError, match=r"scan.npz: cannot be written \(No space left on device\)"):
        RawData(**contract()).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["scan.npz"]


def test_saving_overwrites_and_is_the_same_bytes_each_time(tmp_path):
    data = RawData(**contract())
    data.save(tmp_path / "scan.npz")
    first = (tmp_path / "scan.npz").read_bytes()
    data.save(tmp_path / "scan.npz")
    assert (tmp_path / "scan.npz").read_bytes() == first
