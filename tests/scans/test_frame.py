"""Detectors of any size on a square frame: which one is chosen, and that counts, centre and forward model stay."""

import tracemalloc
from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptycho.errors import DataError
from ptycho.physics import photons
from ptycho.physics.beam import PLANCK_LIGHT
from ptycho.scans import faults, formats, frame
from ptycho.scans.formats.containers import h5
from ptycho.scans.formats.scan import Scan
from ptycho.scans.frame import Frame

M = 2
WAVELENGTH, DISTANCE, PITCH = 1e-10, 1.5, 75e-6
VIEW = WAVELENGTH * DISTANCE / PITCH
"""The side of the field of view in metres: that of a detector pixel."""
sides = st.integers(32, 200)


class Waves:
    """A probe and an object that are sums of few plane waves, and so known at every place, in fields of view."""

    def __init__(self, seed, finest=7):
        rng = np.random.default_rng(seed)
        shape = (2 * 7 + 1,) * 2
        self.of_probe = rng.normal(size=shape) + 1j * rng.normal(size=shape)
        self.frequencies = rng.integers(-finest, finest + 1, (2, 20))
        self.of_object = rng.normal(size=20) + 1j * rng.normal(size=20)
        self.light = np.sum(np.abs(self.of_probe) ** 2) * np.sum(np.abs(self.of_object) ** 2)

    def probe(self, H, W):
        """(H, W), its middle at (H//2, W//2), in the unit in which sum |P|^2 is the light."""
        y, x = ((np.arange(n) - n // 2) / n for n in (H, W))
        m = np.arange(-7, 8)
        along_y, along_x = (np.exp(2j * np.pi * np.outer(u, m)) for u in (y, x))
        return along_y @ self.of_probe @ along_x.T / np.sqrt(H * W)

    def object(self, y, x, H, W):
        """The object (H, W) around the place (y, x)."""
        v, u = ((np.arange(n) - n // 2) / n + at for n, at in ((H, y), (W, x)))
        f, g = self.frequencies
        return (np.exp(2j * np.pi * np.outer(v, f)) * self.of_object) @ np.exp(2j * np.pi * np.outer(g, u))

    def intensity(self, probe, y, x):
        """|FFT2(P O)|^2 (H, W), unitary, its zero frequency in the middle."""
        exit = probe * self.object(y, x, *probe.shape)
        return np.abs(np.fft.fftshift(np.fft.fft2(exit, norm="ortho"))) ** 2


def detector(waves, H, W, S, metres, seed=0):
    """A scan of the H x W pixels in the middle of S x S ones, and the places of its patterns."""
    y, x = np.random.default_rng(seed).uniform(0, 2, (2, M))
    big = waves.probe(S, S)
    top, left = S // 2 - H // 2, S // 2 - W // 2
    patterns = np.stack([waves.intensity(big, *at)[top : top + H, left : left + W] for at in zip(y, x, strict=True)])
    known = {"energy": PLANCK_LIGHT / WAVELENGTH, "distance": DISTANCE, "detector_pixel": PITCH}
    unit = (VIEW, VIEW) if metres else (H, W)
    return Scan(patterns, x=x * unit[1], y=y * unit[0], metres=metres, probe=waves.probe(H, W), **known), y, x


@settings(max_examples=25)
@given(H=sides, W=sides, metres=st.booleans(), seed=st.integers(0, 99))
def test_the_far_field_of_a_padded_detector_is_that_of_the_whole_one(H, W, metres, seed):
    """Where it was measured; elsewhere it is masked. The object's waves reach beyond the detector."""
    S, waves = 208, Waves(seed, finest=90)
    scan, y, x = detector(waves, H, W, S, metres)
    found = frame.framed(scan, Frame(S))
    valid = found.mask
    assert valid.sum() == H * W and valid[S // 2 - H // 2, S // 2 - W // 2] and valid[S // 2, S // 2]
    placed = found.in_pixels()
    np.testing.assert_allclose([placed.y / S, placed.x / S], [y, x], atol=1e-9)
    for k, measured in enumerate(found.intensity()):
        predicted = waves.intensity(found.probe, y[k], x[k])
        np.testing.assert_allclose(np.sqrt(predicted[valid]), np.sqrt(measured[valid]), atol=1e-9 * waves.light)
        assert measured[~valid].sum() == 0
    assert found.intensity().sum() == pytest.approx(scan.intensity().sum(), rel=1e-12)
    assert found.pixel == pytest.approx(VIEW / S)


@settings(max_examples=25)
@given(H=sides, W=sides, metres=st.booleans(), seed=st.integers(0, 99))
def test_the_frame_chosen_keeps_counts_centre_and_far_field(H, W, metres, seed):
    scan, y, x = detector(waves := Waves(seed), H, W, 256, metres)
    mean = scan.patterns.mean(0)
    size = frame.chosen(mean, np.ones((H, W), bool))
    N = size.N
    assert size.binning == 1 and N % 8 == 0 and 8 * (min(H, W) // 8) <= N <= 8 * -(-max(H, W) // 8)
    found = frame.framed(scan, size)
    kept = found.intensity().sum() / scan.intensity().sum()
    assert kept == pytest.approx(size.kept, abs=1e-8) and (kept > 0.999 or max(H, W) <= N)
    assert np.array_equal(found.intensity()[:, N // 2, N // 2], scan.intensity()[:, H // 2, W // 2])
    assert (found.mask is None) == (min(H, W) >= N)
    valid = np.ones((N, N), bool) if found.mask is None else found.mask
    for k, measured in enumerate(found.intensity()):
        predicted = waves.intensity(found.probe, y[k], x[k])
        np.testing.assert_allclose(np.sqrt(predicted[valid]), np.sqrt(measured[valid]), atol=1e-9 * waves.light)


def bell(H, W, width):
    r2 = np.add.outer((np.arange(H) - H // 2) ** 2, (np.arange(W) - W // 2) ** 2)
    return np.exp(-r2 / (2 * width**2))


FLAT = 1e9
CHOICES = {
    "nothing is lost by 4 pixels": ((100, 100), 7, "cropped to 96 x 96, which keeps all counts"),
    "something is": ((100, 100), 30, "padded with masked pixels to 104 x 104, which keeps all counts"),
    "odd": ((101, 101), 30, "padded with masked pixels to 104 x 104, which keeps all counts"),
    "dark above and below": ((256, 512), 30, "cropped to 256 x 256, which keeps 99.99% of the counts"),
    "light everywhere": ((256, 512), FLAT, "padded with masked pixels to 512 x 512, which keeps all counts"),
    "light beyond the short side": (
        (256, 512),
        50,
        "cropped and padded with masked pixels to 336 x 336, which keeps 99.92% of the counts",
    ),
    "large, and dark outside": ((1100, 1100), 100, "cropped to 1024 x 1024, which keeps 99.99% of the counts"),
    "large": ((1100, 1100), FLAT, "binned by 2 and padded with masked pixels to 552 x 552, which keeps 99.63% of"),
    "larger": ((2068, 2162), FLAT, "binned by 3"),
    "small and long": ((32, 700), FLAT, "padded with masked pixels to 704 x 704"),
}


@pytest.mark.parametrize("kind", CHOICES)
def test_the_choice_is_told(kind):
    shape, width, expected = CHOICES[kind]
    mean = bell(*shape, width)
    size = frame.chosen(mean, np.ones(shape, bool))
    assert f"{shape[0]} x {shape[1]} pixels, " in size.told(*shape) and expected in size.told(*shape)
    assert size.N <= 1024


@pytest.mark.parametrize("binning", [2, 3])
@pytest.mark.parametrize("amplitude", [False, True])
def test_binned_counts_are_sums_and_a_bin_is_masked_with_any_of_its_pixels(binning, amplitude):
    N, b, H, W = 16, binning, 52, 57
    rng = np.random.default_rng(0)
    counts, mask = rng.poisson(9, (M, H, W)).astype(np.uint16), rng.random((H, W)) > 0.05
    scan = Scan(np.sqrt(counts), amplitude=True, intensity_scale=1.0) if amplitude else Scan(counts)
    found = frame.framed(replace(scan, mask=mask), Frame(N, b))
    for i in range(N):
        for j in range(N):
            top, left = (n // 2 + b * (k - N // 2) - b // 2 for n, k in ((H, i), (W, j)))
            rows, columns = (slice(max(first, 0), max(first + b, 0)) for first in (top, left))
            assert np.array_equal(found.intensity()[:, i, j], counts[:, rows, columns].sum((1, 2)))
            whole = min(top, left) >= 0 and top + b <= H and left + b <= W
            assert found.mask[i, j] == (whole and mask[rows, columns].all())


@pytest.mark.parametrize("binning", [2, 3])
def test_the_far_field_of_binned_pixels_is_that_at_their_middles(binning):
    """Positions stay. Sums over pixels come near it where the probe is small against the field of view."""
    N, S = 64, 64 * binning
    rng = np.random.default_rng(1)
    y, x = np.indices((S, S)) - S // 2
    probe = np.where(np.hypot(y, x) < 3, np.exp(0.1j * (y**2 + 0.3 * x)), 0)
    object = rng.uniform(0.5, 1, (S, S)) * np.exp(1j * rng.uniform(0, 1, (S, S)))
    exit = probe * object
    counts = np.abs(np.fft.fftshift(np.fft.fft2(exit, norm="ortho"))) ** 2
    scan = Scan(counts[np.newaxis], x=np.array([7.0]), y=np.array([9.0]), metres=False, probe=probe, pixel_size=1e-8)
    found = frame.framed(scan, Frame(N, binning))
    assert (found.x[0], found.y[0]) == (7, 9) and found.pixel_size == pytest.approx(1e-8)
    middle = slice(S // 2 - N // 2, S // 2 + N // 2)
    predicted = np.abs(np.fft.fftshift(np.fft.fft2(found.probe * object[middle, middle], norm="ortho"))) ** 2
    q = binning * (np.arange(N) - N // 2) + np.mean(np.arange(binning) - binning // 2)
    kernel = np.exp(-2j * np.pi * np.outer(q, np.arange(S) - S // 2) / S)
    at_middles = binning**2 * np.abs(kernel @ exit @ kernel.T / S) ** 2
    np.testing.assert_allclose(predicted, at_middles, atol=1e-9 * at_middles.max())
    valid = found.mask if found.mask is not None else np.ones((N, N), bool)
    np.testing.assert_allclose(found.intensity()[0][valid], predicted[valid], atol=0.05 * predicted.max())


def test_a_bin_holds_the_background_of_all_its_pixels():
    scan = Scan(patterns=np.ones((9, 128, 128), int), x=np.arange(9.0), y=np.arange(9.0), metres=False, background=3.0)
    assert frame.framed(scan, frame.Frame(64, 2)).background == 12
    assert frame.framed(scan, frame.Frame(64, 1)).background == 3


def test_a_real_probe_is_as_good_as_a_complex_one():
    """The middles of even bins are half a pixel off: a tilt, which a real probe cannot hold."""
    probe = np.exp(-(np.hypot(*(np.mgrid[:128, :128] - 64)) ** 2) / 50)
    framed = frame.Frame(64, 2).probe(probe)
    np.testing.assert_allclose(framed, frame.Frame(64, 2).probe(probe.astype(complex)))
    assert np.iscomplexobj(framed)


def test_a_probe_that_binning_leaves_no_room_for_is_refused():
    N = 1200
    probe = bell(N, N, 200).astype(np.complex64)
    scan = Scan(np.random.default_rng(0).poisson(2 + 200 * bell(N, N, 300), (2, N, N)), probe=probe)
    told = list(faults.of_size(scan, Scan(scan.patterns[:1], mask=np.ones((N, N), bool))))
    assert [fault.weight for fault in told] == [faults.REFUSED]
    assert "binned by 2 to 600 x 600" in str(told[0]) and "does not hold the probe" in str(told[0])


def centred(H, W, shift=(0, 0)):
    """A good scan of H x W pixels, its centre off by a shift."""
    N, side, rng = 128, 12, np.random.default_rng(3)
    k = np.arange(N) - N // 2
    probe = np.exp(-np.add.outer((k / 9) ** 2, (k / 7) ** 2) / 2 + 0.1j * k / 9).astype(np.complex64)
    i, j = np.divmod(np.arange(side**2), side)
    x, y = (np.stack([j, i]) * 4 + rng.uniform(-1, 1, (2, side**2))) + N // 2 + 2
    size = int(max(x.max(), y.max())) + N // 2 + 4
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    wave = np.fft.ifft2(np.fft.fft2(rng.normal(size=(size, size))) * np.exp(-((f / 0.1) ** 2))).real
    rate = photons.ideal_amplitude(np.exp(1j * wave / wave.std() / 3), probe, x, y).astype(float) ** 2
    counts = np.roll(rng.poisson(rate * 3e5 / rate.sum((1, 2)).mean()), shift, (1, 2))
    top, left = N // 2 - H // 2, N // 2 - W // 2
    view = WAVELENGTH * DISTANCE / PITCH
    known = {"energy": PLANCK_LIGHT / WAVELENGTH, "distance": DISTANCE, "detector_pixel": PITCH}
    cut = counts[:, top : top + H, left : left + W]
    return Scan(cut, x=x * view / N, y=y * view / N, **known), counts


@pytest.mark.parametrize("shift", [(0, 0), (3, -2)])
@pytest.mark.parametrize(("H", "W"), [(99, 99), (100, 100), (64, 101), (127, 90)])
def test_a_study_mends_size_and_centre_together(H, W, shift):
    scan, whole = centred(H, W, shift)
    found, told = faults.ready(scan)
    assert {fault.weight for fault in told} == {faults.MENDED}
    assert [fault.about for fault in told].count("size") == 1
    assert any("centred on" in str(fault) for fault in told) == (shift != (0, 0))
    N = found.patterns.shape[-1]
    assert found.patterns.shape[1:] == (N, N) and N % 8 == 0
    start = 64 - N // 2
    expected = np.roll(whole, np.negative(shift), (1, 2))[:, start : start + N, start : start + N]
    valid = np.ones((N, N), bool) if found.mask is None else found.mask
    assert np.array_equal(found.intensity()[:, valid], expected[:, valid])
    assert not [fault for fault in faults.examine(found, faults.measure(found)) if fault.mend]
    assert found.rawdata().N == N


def test_patterns_at_the_corners_of_an_odd_detector_are_framed_from_there():
    scan, _ = centred(99, 101)
    found, told = faults.ready(replace(scan, patterns=np.fft.ifftshift(scan.patterns, axes=(1, 2))))
    assert any("at the corners" in str(fault) for fault in told)
    assert np.array_equal(found.intensity(), faults.ready(scan)[0].intensity())


def test_an_object_is_left_aside_where_its_pixels_change():
    scan = Scan(np.ones((1, 40, 40)), object=np.ones((90, 90), complex), object_center=(45.0, 45.0))
    found = frame.framed(scan, Frame(48))
    assert found.object is None and found.object_center is None
    assert found.notes == ("the object: its pixels are not those of 48 x 48 patterns",)


def test_the_frame_of_a_scan_larger_than_memory_is_read_in_batches(tmp_path):
    shape = (4096, 66, 100)
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_dataset("data", shape, "u2", chunks=(64, 66, 100), compression="gzip", compression_opts=1)
        for start in range(0, len(file["data"]), 64):
            file["data"][start : start + 64] = start % 512
    with h5py.File(tmp_path / "scan.h5") as file:
        found = frame.framed(Scan(h5.stack(file, "data")), Frame(104))
    tracemalloc.start()
    sums = [int(found.values(slice(k, k + 64)).sum()) for k in range(0, len(found.patterns), 64)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sums == [k % 512 * 64 * 66 * 100 for k in range(0, 4096, 64)]
    assert peak < 64 * 104**2 * 2 * 12


def test_convert_frames_for_npz_what_is_no_even_square(tmp_path):
    scan, _ = centred(64, 101)
    formats.by_name(tmp_path / "scan.cxi").write(tmp_path / "scan.cxi", scan)
    told = formats.convert(tmp_path / "scan.cxi", tmp_path / "scan.npz")
    assert len(told) == 1 and told[0].startswith("size: 64 x 101 pixels, ")
    found = formats.load(tmp_path / "scan.npz")
    expected = faults.ready(scan)[0].rawdata()
    assert np.array_equal(found.counts(), expected.counts()) and found.N % 8 == 0
    assert found.pixel_size == expected.pixel_size
    formats.convert(tmp_path / "scan.cxi", tmp_path / "other.cxi")
    assert formats.read(tmp_path / "other.cxi").patterns.shape == scan.patterns.shape


def test_convert_refuses_patterns_whose_object_pixels_are_not_square(tmp_path):
    scan, _ = centred(64, 101)
    formats.by_name(tmp_path / "scan.cxi").write(tmp_path / "scan.cxi", replace(scan, pixel_size=2e-8))
    with pytest.raises(DataError, match=r"scan.cxi: object pixel: 2e-08 m along both axes; .* are not square"):
        formats.convert(tmp_path / "scan.cxi", tmp_path / "scan.npz")
    assert not (tmp_path / "scan.npz").exists()
