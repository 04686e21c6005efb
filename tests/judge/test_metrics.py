"""Gauge removal, Fourier ring correlation and the numbers judged by them, against slow oracles and planted errors."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import fft, ndimage

from ptycho.errors import NonFiniteError
from ptycho.judge.frc import evaluation_window, fill_holes, frc, frc50, threshold
from ptycho.judge.gauge import evaluation_region, remove_gauge
from ptycho.judge.metrics import contrast_ratio, evaluate, pearson, photon_bound, psnr, ssim
from ptycho.judge.parts import judge_object
from ptycho.scans import simulated
from ptycho.scans.reconstruction import Reconstruction

SIZE = 128
KEYS = {
    "amplitude_frc50",
    "phase_frc50",
    "amplitude_psnr_db",
    "amplitude_ssim",
    "amplitude_pearson",
    "phase_pearson",
    "relative_mse",
    "photon_bound",
    "deviance",
    "amplitude_level",
    "absolute_mse",
    "amplitude_first",
    "phase_first",
    "amplitude_seventh",
    "phase_seventh",
}


def smooth_noise(seed, sigma=1.5, size=SIZE):
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), sigma, mode="wrap")
    return (field - field.min()) / np.ptp(field)


def make_truth(phase=0.0, seed=0):
    """Amplitude in [0.5, 1.5], independent phase of the given peak-to-peak."""
    return (0.5 + smooth_noise(seed)) * np.exp(1j * phase * (smooth_noise(seed + 100) - 0.5))


def square_coverage(size=SIZE, margin=20):
    coverage = np.zeros((size, size), np.float32)
    coverage[margin:-margin, margin:-margin] = 10
    return coverage


def scanned_coverage(positions, size, radius):
    coverage = np.zeros((size, size), np.float32)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = y**2 + x**2 <= radius**2
    for row, column in np.rint(positions).astype(int):
        coverage[row - radius : row + radius + 1, column - radius : column + radius + 1] += disk
    return coverage


def add_noise(truth, level, seed=7):
    rng = np.random.default_rng(seed)
    return truth + level * (rng.normal(size=truth.shape) + 1j * rng.normal(size=truth.shape))


def plant(image, shift=(0.0, 0.0), ramp=(0.0, 0.0), scale=1.0):
    """R(r) = scale exp(2 pi i ramp.r / SIZE) image(r + shift), the shift periodic and exact."""
    f = fft.fftfreq(SIZE)
    moved = fft.ifft2(fft.fft2(image) * np.exp(2j * np.pi * (f[:, None] * shift[0] + f * shift[1])))
    n = np.arange(SIZE) / SIZE
    return scale * moved * np.exp(2j * np.pi * (n[:, None] * ramp[0] + n * ramp[1]))


def judge(image, truth, origin=(0.0, 0.0), coverage=None, photons=1e7):
    coverage = square_coverage() if coverage is None else coverage
    return evaluate(Reconstruction(image.astype(np.complex64), coverage, np.array(origin)), truth, photons)


# --- where coverage is real -------------------------------------------------------------------------------------------


def test_region_of_a_random_scan_is_the_scanned_area():
    positions = np.random.default_rng(1).uniform(32, 223, (2000, 2))
    rows, columns, mask = evaluation_region(scanned_coverage(positions, 256, 11))
    for side in (rows, columns):
        assert 192 <= side.stop - side.start <= 214
        assert 21 <= side.start <= 33 and 222 <= side.stop - 1 <= 234
    assert mask.shape == (rows.stop - rows.start, columns.stop - columns.start) and mask.mean() > 0.93


def test_region_of_a_sparse_scan_leaves_its_holes_out():
    positions = np.random.default_rng(2).uniform(32, 223, (200, 2))
    coverage = scanned_coverage(positions, 256, 11)
    rows, columns, mask = evaluation_region(coverage)
    assert 180 <= rows.stop - rows.start <= 220
    assert np.all(coverage[rows, columns][mask] > 0)
    assert 0.6 < mask.mean() < 0.9


def test_region_of_a_round_scan_with_faint_tails_is_round():
    y, x = np.mgrid[:256, :256] - 128
    r = np.hypot(y, x)
    rows, _, mask = evaluation_region(np.exp(-((np.maximum(r - 80, 0) / 6) ** 2)) + 1e-4)
    assert abs(rows.stop - rows.start - 170) <= 6
    assert abs(mask.mean() - np.pi / 4) < 0.03


def test_region_ignores_a_stray_position():
    coverage = square_coverage(256, 60)
    with_stray = coverage.copy()
    with_stray[5:16, 5:16] += 10
    assert evaluation_region(coverage)[:2] == evaluation_region(with_stray)[:2]


@pytest.mark.parametrize(
    ("coverage", "message"),
    [
        (np.zeros((64, 64)), "zero everywhere"),
        (np.full((64, 64), np.nan), "finite, non-negative"),
        (-np.ones((64, 64)), "finite, non-negative"),
        (np.ones(64), "finite, non-negative"),
        (np.ones((8, 8)), "less than 16 pixels"),
    ],
)
def test_region_refuses_bad_coverage(coverage, message):
    with pytest.raises(ValueError, match=message):
        evaluation_region(coverage)


# --- gauge ------------------------------------------------------------------------------------------------------------

gauges = st.tuples(
    st.tuples(st.floats(-4, 4), st.floats(-4, 4)),
    st.tuples(st.floats(-6, 6), st.floats(-6, 6)),
    st.floats(1e-4, 1e4),
    st.floats(-np.pi, np.pi),
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(gauges, st.sampled_from([0.0, 2.0]), st.sampled_from([0.02, 0.1]))
def test_planted_gauge_is_removed_and_the_metrics_stay(gauge, phase, noise):
    """The image without the gauge is judged over the same part of the object, to the nearest pixel."""
    (shift, ramp, magnitude, angle), truth = gauge, make_truth(phase)
    image = add_noise(truth, noise)
    if noise < 0.1:
        image = ndimage.gaussian_filter(image, 1.0)  # an error of blur, not of noise
    plain = judge(image, truth, coverage=np.roll(square_coverage(), np.rint(shift).astype(int), (0, 1)))
    gauged = judge(plant(image, shift, ramp, magnitude * np.exp(1j * angle)), truth)
    assert np.allclose(gauged.aligned.shift_yx, shift, atol=0.06)
    assert np.allclose(gauged.aligned.ramp_yx * SIZE, ramp, atol=0.02)
    assert abs(gauged.aligned.scale) * magnitude == pytest.approx(abs(plain.aligned.scale), rel=0.01)
    a, b = plain.as_dict(), gauged.as_dict()
    assert b["relative_mse"] == pytest.approx(a["relative_mse"], rel=0.03)
    assert b["amplitude_psnr_db"] == pytest.approx(a["amplitude_psnr_db"], abs=0.15)
    assert b["amplitude_frc50"] == pytest.approx(a["amplitude_frc50"], abs=0.04)
    assert b["amplitude_pearson"] == pytest.approx(a["amplitude_pearson"], abs=0.02)
    assert b["amplitude_ssim"] == pytest.approx(a["amplitude_ssim"], abs=0.02)
    assert (a["phase_pearson"] is None) == (b["phase_pearson"] is None) == (phase == 0)
    if phase:
        assert b["phase_pearson"] == pytest.approx(a["phase_pearson"], abs=0.01)
        assert b["phase_frc50"] == pytest.approx(a["phase_frc50"], abs=0.04)


@pytest.mark.parametrize("truth", [make_truth(2.0), make_truth(0.0) + 0j, np.exp(2j * smooth_noise(3))])
def test_a_gauge_on_a_perfect_image_leaves_no_error(truth):
    result = judge(plant(truth, (1.37, -2.61), (3.3, -5.2), 0.02j), truth)
    assert result.relative_mse < 1e-5  # the truth is mirrored at its edges, the planted shift is periodic
    assert np.allclose(result.aligned.shift_yx, (1.37, -2.61), atol=1e-3)


def test_trap_a_two_pixel_frame_error_is_not_a_bad_reconstruction():
    truth = make_truth(1.0)
    image = add_noise(truth, 0.1)
    right, wrong = judge(image, truth), judge(image, truth, origin=(2.0, -2.0))
    assert np.array_equal(wrong.aligned.shift_yx, (-2, 2))
    for key, value in right.as_dict().items():
        assert wrong.as_dict()[key] == (value if value is None else pytest.approx(value, rel=1e-6)), key


def test_origin_places_a_cropped_reconstruction():
    truth = make_truth(1.0)
    cropped = Reconstruction(
        truth[10:-6, 14:-8].astype(np.complex64), square_coverage()[10:-6, 14:-8], np.array([10, 14])
    )
    whole, part = judge(truth, truth), evaluate(cropped, truth, 1e7)
    assert np.array_equal(part.aligned.shift_yx, (0, 0))
    assert part.relative_mse < 1e-12
    assert np.array_equal(part.aligned.truth, whole.aligned.truth)


def test_a_shift_that_does_not_lower_the_error_does_not_resample():
    truth = make_truth(1.0)
    result = judge(add_noise(truth, 0.1), truth)
    assert np.array_equal(result.aligned.shift_yx, (0, 0))
    assert np.array_equal(result.aligned.truth, truth[result.aligned.box])


def test_truth_that_ends_within_the_scan_limits_the_region():
    truth = make_truth(1.0)
    result = judge(truth[:100], truth[:100], coverage=np.ones((100, SIZE), np.float32))
    assert result.aligned.mask.shape == (100, SIZE)
    moved = evaluate(Reconstruction(truth.astype(np.complex64), np.ones((SIZE, SIZE)), np.zeros(2)), truth[3:100], 1e7)
    assert np.array_equal(moved.aligned.shift_yx, (-3, 0)) and moved.relative_mse < 1e-12
    assert moved.aligned.mask.shape[0] == 97


def test_non_finite_and_ill_shaped_input_is_refused():
    truth = make_truth()
    broken = truth.copy()
    broken[3, 4] = np.nan
    with pytest.raises(NonFiniteError, match="1 non-finite of 16384 pixels"):
        judge(broken, truth)
    with pytest.raises(ValueError, match="truth must be a finite"):
        judge(truth, broken)
    with pytest.raises(ValueError, match="one shape"):
        Reconstruction(truth, np.ones((4, 4)), np.zeros(2))
    with pytest.raises(ValueError, match="origin_yx"):
        Reconstruction(truth, np.ones(truth.shape), np.array([0.0, np.nan]))
    with pytest.raises(ValueError, match="zero everywhere"):
        judge(truth, truth, origin=(5000.0, 0.0))


# --- Fourier ring correlation -----------------------------------------------------------------------------------------


def slow_frc(a, b, window):
    """The definition, pixel by pixel, with Fourier sums written out."""
    h, w = a.shape
    a, b = ((v - (v * window).sum() / window.sum()) * window for v in (a, b))
    y, x = np.mgrid[:h, :w]
    sums = {}
    for ky in range(-(h // 2), (h + 1) // 2):
        for kx in range(-(w // 2), (w + 1) // 2):
            wave = np.exp(-2j * np.pi * (ky * y / h + kx * x / w))
            fa, fb = (a * wave).sum(), (b * wave).sum()
            ring = round(np.hypot(ky / h, kx / w) * min(h, w))
            cross, pa, pb, n = sums.get(ring, (0, 0, 0, 0))
            sums[ring] = (cross + (fa * np.conj(fb)).real, pa + abs(fa) ** 2, pb + abs(fb) ** 2, n + 1)
    rings = [sums[k] for k in range(1, min(h, w) // 2 + 1)]
    return [r[0] / np.sqrt(r[1] * r[2]) for r in rings], [r[3] for r in rings]


@pytest.mark.parametrize("shape", [(12, 12), (13, 13), (10, 17), (16, 11)])
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_frc_equals_its_definition(shape, kind):
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(2, *shape))
    if kind == "complex":
        a, b = a + 1j * rng.normal(size=shape), b + 0.5 * a
    window = rng.uniform(size=shape)
    curve = frc(a, b, window)
    correlation, n = slow_frc(a, b, window)
    assert np.allclose(curve.correlation, correlation, atol=1e-12)
    assert np.array_equal(curve.n, n)
    assert np.allclose(curve.frequency, 2 * np.arange(1, min(shape) // 2 + 1) / min(shape))


def test_frc_of_an_image_with_itself_is_one_and_of_noise_is_none():
    a, b = np.random.default_rng(0).normal(size=(2, 96, 96))
    window = np.ones((96, 96))
    assert np.allclose(frc(a, a, window).correlation, 1) and frc50(frc(a, a, window)) == 1.0
    curve = frc(a, b, window)
    assert np.all(np.abs(curve.correlation) < 4.5 / np.sqrt(curve.n / 2))
    assert frc50(curve) < 0.05


def test_frc_finds_the_frequency_where_noise_takes_over():
    """Signal of power S(q) with noise of power 1: FRC against the truth is sqrt(S/(S+1)), 0.5 at S = 1/3."""
    rng, size = np.random.default_rng(3), 256
    f = np.hypot(fft.fftfreq(size)[:, None], fft.fftfreq(size))
    cut = 0.2  # cycles per pixel: 0.4 of Nyquist
    spectrum = np.sqrt(np.exp(-(f - cut) / 0.03) / 3)
    spectrum[0, 0] = 0
    truth = fft.ifft2(fft.fft2(rng.normal(size=(size, size))) * spectrum).real
    curve = frc(truth + rng.normal(size=truth.shape), truth, evaluation_window(np.ones(truth.shape, bool)))
    assert frc50(curve) == pytest.approx(0.4, abs=0.02)


def test_window_and_filled_holes_do_not_invent_correlation():
    """Two images that agree only on something coarse: at high frequency the FRC is zero, whatever the mask."""
    rng = np.random.default_rng(8)
    coarse = ndimage.gaussian_filter(rng.normal(size=(192, 192)), 8)
    a, b = (coarse / coarse.std() + 0.02 * rng.normal(size=coarse.shape) for _ in range(2))
    y, x = np.mgrid[:192, :192] - 96
    mask = (np.hypot(y, x) < 90) & (rng.uniform(size=coarse.shape) > 0.1)
    honest = frc(fill_holes(a, mask), fill_holes(b, mask), evaluation_window(mask))
    assert abs(honest.correlation[-48:].mean()) < 0.05
    hard = frc(a, b, mask.astype(float))
    assert hard.correlation[-48:].mean() > 0.8  # what is avoided


def test_filled_holes_are_harmonic_and_nothing_else_changes():
    y, x = np.mgrid[:20, :24].astype(float)
    image = x * y + 1j * (x**2 - y**2)  # harmonic, also on the lattice
    mask = np.ones(image.shape, bool)
    mask[5:9, 6:15] = mask[12, 3] = False
    broken = np.where(mask, image, 99)
    assert np.allclose(fill_holes(broken, mask), image)
    assert np.allclose(fill_holes(broken.real, mask), image.real) and fill_holes(broken.real, mask).dtype == np.float64
    outside = mask.copy()
    outside[0, :] = False
    assert np.array_equal(fill_holes(broken, outside)[0], broken[0])


def test_frc_refuses_what_it_cannot_use():
    good = np.eye(8)
    with pytest.raises(ValueError, match="one shape"):
        frc(good, np.eye(9), good)
    with pytest.raises(ValueError, match="finite"):
        frc(good * np.nan, good, good)
    with pytest.raises(ValueError, match="not empty"):
        frc(good, good, np.zeros((8, 8)))


def test_thresholds_follow_from_the_bits_of_information():
    """A half bit, or one bit, per pixel: log2(1 + SNR) = 1/2 or 1, of which each half of the data has half."""
    for kind, bits in (("half-bit", 0.5), ("one-bit", 1.0)):
        snr = (2**bits - 1) / 2
        n = np.array([1.0, 8.0, 100.0, 1e12])
        noise = 1 / np.sqrt(n)
        expected = (snr + 2 * np.sqrt(snr) * noise + noise) / (snr + 2 * np.sqrt(snr) * noise + 1)
        assert np.allclose(threshold(n, kind), expected, atol=2e-4)
    with pytest.raises(ValueError, match="accepted are"):
        threshold(np.ones(3), "0.143")


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_trap_psnr_has_no_default_peak():
    truth = np.array([[0.5, 1.0], [1.5, 0.5]])
    image, mask = truth + 0.1, np.ones((2, 2), bool)
    assert psnr(image, truth, mask, data_range=1.0) == pytest.approx(20.0)
    assert psnr(image, truth, mask, data_range=255.0) == pytest.approx(20.0 + 48.13, abs=0.01)
    with pytest.raises(TypeError):
        psnr(image, truth, mask)
    with pytest.raises(TypeError):
        ssim(image, truth, mask)
    with pytest.raises(ValueError, match="data_range"):
        psnr(image, truth, mask, data_range=0.0)
    result = judge(add_noise(make_truth(), 0.1), make_truth())
    inside = np.abs(result.aligned.truth)[result.aligned.mask]
    assert result.data_range == pytest.approx(np.ptp(inside)) and result.data_range < 1.01


def test_scalars_agree_with_their_definitions():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(40, 40))
    image, mask = 0.5 * truth + rng.normal(size=truth.shape), rng.uniform(size=truth.shape) > 0.3
    assert pearson(image, truth, mask) == pytest.approx(np.corrcoef(image[mask], truth[mask])[0, 1])
    assert contrast_ratio(image, truth, mask) == pytest.approx(image[mask].std() / truth[mask].std())
    assert pearson(np.full_like(truth, 0.3), truth, mask) == 0.0
    assert psnr(truth, truth, mask, data_range=1.0) == 160.0
    whole = np.ones_like(mask)
    assert ssim(truth, truth, whole, data_range=1.0) == pytest.approx(1.0)
    window = np.s_[17:24, 11:18]
    lone = np.zeros_like(mask)
    lone[window] = True
    a, b = image[window], truth[window]
    c1, c2, cov = 0.01**2, 0.03**2, np.cov(a.ravel(), b.ravel())
    expected = (2 * a.mean() * b.mean() + c1) * (2 * cov[0, 1] + c2)
    expected /= (a.mean() ** 2 + b.mean() ** 2 + c1) * (cov[0, 0] + cov[1, 1] + c2)
    assert ssim(image, truth, lone, data_range=1.0) == pytest.approx(expected)


def test_photon_bound_is_what_ideal_detection_reaches():
    """Cramer-Rao by brute force: the Fisher matrix of oversampled Poisson counts of a known, scattering probe."""
    rng, n, photons = np.random.default_rng(0), 4, 1e4
    truth = rng.normal(size=n) + 1j * rng.normal(size=n)
    F = fft.fft(np.eye(64), axis=0) / 8
    diffusers = [F[:, :n] @ np.diag(np.exp(2j * np.pi * rng.uniform(size=n))) for _ in range(200)]
    scale = photons / sum(np.sum(np.abs(A @ truth) ** 2) for A in diffusers)
    fisher = np.zeros((2 * n, 2 * n))
    for A in diffusers:
        field = A @ truth
        gradient = 2 * np.concatenate([(field.conj()[:, None] * A).real, -(field.conj()[:, None] * A).imag], axis=1)
        fisher += scale * gradient.T @ (gradient / np.abs(field[:, None]) ** 2)
    values = np.linalg.eigvalsh(fisher)[1:]  # the global phase is not determined
    relative = np.sum(1 / values) / np.sum(np.abs(truth) ** 2)
    assert photon_bound(n, photons) * ((2 * n - 1) / (2 * n)) ** 2 < relative < 1.4 * photon_bound(n, photons)
    for bad in ((0, 1e4), (10, 0.0), (10, np.nan)):
        with pytest.raises(ValueError, match="photon_bound"):
            photon_bound(*bad)


def test_bound_counts_the_photons_that_fell_on_the_region():
    coverage = square_coverage()
    coverage[coverage == 0] = coverage.sum() / np.sum(coverage == 0) / 9  # a tenth of the light falls around it, thinly
    result = judge(make_truth(), make_truth(), photons=1e6, coverage=coverage)
    assert result.photon_bound == pytest.approx(result.aligned.mask.sum() / 0.9e6, rel=0.02)


def test_evaluation_is_plain_numbers_for_json():
    result = evaluate(
        Reconstruction(add_noise(make_truth(1.0), 0.1), square_coverage(), np.zeros(2)),
        make_truth(1.0),
        1e7,
        np.float32(1),
    )
    numbers = result.as_dict()
    assert set(numbers) == KEYS and all(type(v) is float for v in numbers.values())
    assert numbers["deviance"] == 1.0
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers
    assert judge(make_truth(), make_truth()).as_dict()["deviance"] is None
    assert not result.collapsed and 0 < numbers["amplitude_frc50"] <= 1 and 0 < numbers["phase_frc50"] <= 1
    assert result.relative_mse == pytest.approx(2 * 0.1**2 / np.mean(np.abs(make_truth(1.0)) ** 2), rel=0.05)


@pytest.mark.parametrize("level", [0.5, 0.92, 1.0, 1.3])
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_the_level_of_an_image_is_told_whatever_its_noise(level, noise):
    """Its phase is no error, its modulus is: (level - 1)^2 of the truth's power, beside that of the noise."""
    truth = make_truth(1.0)
    found = judge(level * np.exp(1j) * add_noise(truth, noise), truth)
    assert found.amplitude_level == pytest.approx(level, rel=0.01)
    power = np.mean(np.abs(truth) ** 2)
    assert found.absolute_mse == pytest.approx((level - 1) ** 2 + level**2 * 2 * noise**2 / power, rel=0.06, abs=1e-9)
    if noise == 0:
        assert found.relative_mse < 1e-9
    else:  # what the scale may choose is no worse than what it is
        assert found.relative_mse <= found.absolute_mse + 1e-12


def test_phase_is_compared_without_wraps():
    truth = make_truth(2.0) * np.exp(1j * 3.1)  # about pi, where angles jump
    assert judge(add_noise(truth, 0.05), truth).phase_pearson > 0.95
    ramped = truth * np.exp(2j * np.pi * np.arange(SIZE) * 3 / SIZE)
    assert judge(add_noise(ramped, 0.05), ramped).phase_pearson > 0.95


# --- collapse ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [0.0, 1.5])
def test_trap_frc_of_a_flat_image_is_no_resolution(phase):
    truth = make_truth(phase)
    for flat in (np.ones_like(truth) + 0j, add_noise(np.ones_like(truth), 0.02), np.zeros_like(truth) + 0j):
        result = judge(flat, truth)
        assert result.collapsed
        assert result.amplitude_frc50 is None and result.phase_frc50 is None
        assert result.as_dict()["amplitude_frc50"] is None
        assert np.isfinite(result.relative_mse) and abs(result.amplitude_pearson) < 0.2


def test_trap_mae_cannot_see_a_collapse():
    truth = make_truth()
    noisy, flat = judge(add_noise(truth, 0.15), truth), judge(np.full(truth.shape, np.abs(truth).mean()), truth)

    def error(result):
        return np.mean(np.abs(np.abs(result.aligned.object) - np.abs(result.aligned.truth)))

    assert error(flat) < error(noisy)  # by MAE the flat image is the better one
    assert flat.collapsed and not noisy.collapsed
    assert noisy.amplitude_pearson > 0.6 and noisy.amplitude_frc50 > 0.2


def test_recovering_the_phase_alone_is_not_a_collapse():
    truth = make_truth(2.0)
    result = judge(truth / np.abs(truth), truth)
    assert not result.collapsed
    assert result.amplitude_frc50 is None and result.phase_frc50 > 0.9


def test_a_pure_phase_object_has_no_amplitude_numbers():
    truth = np.exp(2j * smooth_noise(3))
    result = judge(add_noise(truth, 0.05), truth)
    assert not result.collapsed and result.phase_frc50 > 0.3
    assert result.amplitude_psnr_db is None and result.amplitude_ssim is None and result.amplitude_pearson is None


def test_another_object_is_collapsed():
    assert judge(make_truth(1.0, seed=50), make_truth(1.0)).collapsed


def test_gauge_removal_lowers_the_error_of_any_gauge_it_could_have_chosen():
    truth = make_truth(1.0)
    aligned = remove_gauge(
        Reconstruction(plant(add_noise(truth, 0.1), (0.4, 0.3), (1, 2), 3), square_coverage(), np.zeros(2)), truth
    )

    def error(factor):
        return np.sum(np.abs(aligned.object * factor - aligned.truth)[aligned.mask] ** 2)

    y = (np.arange(aligned.mask.shape[0]) - aligned.mask.shape[0] / 2)[:, None]
    for worse in (1.01, 0.99, np.exp(0.01j), np.exp(-0.01j), np.exp(1e-3j * y), np.exp(-1e-3j * y)):
        assert error(worse) > error(1.0)


def test_known_background_is_no_photon_on_the_object():
    scan = simulated.simulate(64, 60, 4, seed=1, object_size=128)["train"].expose("1e4")
    found = Reconstruction(scan.objectGuess, np.ones(scan.objectGuess.shape, np.float32), np.zeros(2))
    beside = np.sqrt(scan.counts() + 2).astype(np.float32) / scan.intensity_scale
    brighter = replace(scan, diff3d=beside, background=2.0)
    alone, told = (judge_object(found, data).photon_bound for data in (scan, brighter))
    assert told == pytest.approx(alone, rel=1e-6)
