"""Each kind of fault, planted in a scan: it is named and weighed. Good scans of many kinds are silent."""

from dataclasses import replace

import numpy as np
import pytest

from ptycho.errors import DataError
from ptycho.physics import photons
from ptycho.scans import faults, mend, simulated
from ptycho.scans.faults import DOUBTFUL, MENDED, REFUSED
from ptycho.scans.formats.scan import Scan

N, SIDE, STEP = 64, 14, 5.0
rng = np.random.default_rng(1)


def blob(width=8.0, curvature=0.5):
    """A Gaussian probe, curved, that is no twin of its own."""
    k = np.arange(N) - N // 2
    u, v = k[:, None] / width, k / (0.75 * width)
    return np.exp(-(u**2 + v**2) / 2 + 1j * curvature * (u**2 + 0.3 * v + 0.2 * v**2)).astype(np.complex64)


def smooth(size, absorbed=0.5, phase=1.0, cutoff=0.12):
    g = np.random.default_rng(5)
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    a, b = (np.fft.ifft2(np.fft.fft2(g.normal(size=(size, size))) * np.exp(-((f / cutoff) ** 2))).real for _ in "ab")
    a, b = ((v - v.min()) / np.ptp(v) for v in (a, b))
    return ((1 - absorbed * a) * np.exp(1j * phase * b)).astype(np.complex64)


def lattice(size):
    wave = np.cos(2 * np.pi * np.arange(size) / STEP)
    return np.exp(0.8j * wave[:, None] * wave).astype(np.complex64)


def scan(dose=3e4, side=SIDE, step=STEP, jitter=0.3, object=smooth, probe=None, gain=1.0, given=False):
    """A scan on a raster with jitter, positions in pixels."""
    g = np.random.default_rng(0)
    P = blob() if probe is None else probe
    i, j = np.divmod(np.arange(side * side), side)
    x, y = np.rint((np.stack([j, i]) + g.uniform(-jitter, jitter, (2, side * side))) * step)
    x, y = x - x.min() + N // 2 + 2, y - y.min() + N // 2 + 2
    O = object(int(max(x.max(), y.max())) + N // 2 + 4)
    rate = photons.ideal_amplitude(O, P, x, y).astype(float) ** 2
    rate *= dose / rate.sum((1, 2)).mean() * np.reshape(gain, (-1, 1, 1))
    return Scan(patterns=g.poisson(rate), x=x, y=y, metres=False, probe=P if given else None)


def changed(change, **how):
    """The scan with its counts changed."""
    good = scan(**how)
    return replace(good, patterns=change(good.patterns))


def rolled(*shift, **how):
    return changed(lambda n: np.roll(n, shift, (1, 2)), **how)


def without(*index):
    def change(n):
        n[(slice(None), *index)] = 0
        return n

    return changed(change, dose=1e6)


def placed(change, **how):
    good = scan(**how)
    return replace(good, **change(good))


def masked(mask):
    return replace(scan(), mask=mask)


def in_metres(good, unit=1.0, **geometry):
    """The scan in metres at 8 keV, object pixels of 28 nm; positions times a `unit`."""
    known = {"energy": 1.2817e-15, "distance": 2.0, "detector_pixel": 172e-6} | geometry
    pixel = replace(good, **(known | {"energy": 1.2817e-15})).pixel
    return replace(good, x=good.x * pixel * unit, y=good.y * pixel * unit, metres=True, **known)


def twice(good):
    """Every pattern and a second exposure of it, a hair beside the first."""
    x, y = (np.concatenate([line, line + 1e-3]) for line in (good.x, good.y))
    return replace(good, patterns=np.concatenate([good.patterns, rng.poisson(good.patterns)]), x=x, y=y)


r = np.hypot(*(np.mgrid[:N, :N] - N // 2))
uneven = np.random.default_rng(4).integers(90, 110, (N, N))
some = np.random.default_rng(2).random((SIDE**2, N, N)) > 0.01
glitch = np.where(np.arange(SIDE**2) == 57, 30_000.0, 0)
gap = slice(36, 40)
PLANTED = {
    "a gain of 12": (lambda: changed(lambda n: 12 * n, dose=3e3), REFUSED, "every value is a multiple of 12"),
    "a gain of 3 over an offset": (lambda: changed(lambda n: 3 * n + 100), REFUSED, "differ by multiples of 3"),
    "amplitudes of a gain of 4": (
        lambda: replace(changed(lambda n: 2 * np.sqrt(n)), amplitude=True, intensity_scale=1.0),
        REFUSED,
        "every value is a multiple of 4",
    ),
    "a gain of 2.5, in floats": (lambda: changed(lambda n: 2.5 * n), REFUSED, "every value is a multiple of 2.5"),
    "a gain of 12 in bright light": (lambda: changed(lambda n: 12 * n, dose=3e8), REFUSED, "is a multiple of 12"),
    "an offset": (lambda: changed(lambda n: n + 40), REFUSED, "no value is below 40: an offset"),
    "background": (lambda: changed(lambda n: n + rng.poisson(1.0, n.shape)), DOUBTFUL, "lie evenly"),
    "a background of which half is told": (
        lambda: replace(changed(lambda n: n + rng.poisson(1.0, n.shape)), background=0.5),
        DOUBTFUL,
        "photons a pixel lie evenly",
    ),
    "a background that is told too high": (
        lambda: replace(changed(lambda n: n + rng.poisson(1.0, n.shape)), background=1.5),
        REFUSED,
        "background: 1.5 photons a pixel, and the dimmest pixels hold ",
    ),
    "a dark frame": (
        lambda: replace(changed(lambda n: n + 40), dark=np.full((N, N), 40.0)),
        MENDED,
        "a dark frame, 40 a pixel",
    ),
    "a dark frame that is not whole": (
        lambda: replace(changed(lambda n: n + 40), dark=np.full((N, N), 39.5)),
        REFUSED,
        "a dark frame of 39.5 a pixel, which is not whole",
    ),
    "a dark frame taken off twice": (
        lambda: replace(scan(), dark=np.full((N, N), 40)),
        REFUSED,
        "as low as -40 with its dark frame taken off",
    ),
    "saturation of the type": (
        lambda: changed(lambda n: np.minimum(n, 65535).astype(np.uint16), dose=3e6),
        DOUBTFUL,
        "equal the largest, 65535",
    ),
    "saturation under a dark frame": (
        lambda: replace(
            changed(lambda n: np.minimum(n + uneven, 65535).astype(np.uint16), dose=3e6), dark=uneven.astype(np.uint16)
        ),
        DOUBTFUL,
        "equal the largest that the file can hold, 65535",
    ),
    "saturation of the counter": (
        lambda: changed(lambda n: np.minimum(n, 2000), dose=3e5),
        DOUBTFUL,
        "equal the largest, 2000",
    ),
    "light that jumps": (
        lambda: scan(gain=np.random.default_rng(3).uniform(0.3, 1.7, SIDE**2)),
        DOUBTFUL,
        "totals: those of patterns scatter by 4",
    ),
    **{
        f"off centre by {shift}{', probe given' * given}": (
            lambda shift=shift, given=given: rolled(*shift, given=given),
            MENDED,
            f"centred on ({32 + shift[0]}, {32 + shift[1]})",
        )
        for shift in ((1, 0), (3, 2), (-6, 5))
        for given in (False, True)
    },
    "at the corners": (lambda: rolled(32, 32), MENDED, "at the corners: fft-shifted"),
    "at the corners, probe given": (lambda: rolled(32, 32, given=True), MENDED, "at the corners: fft-shifted"),
    "probe at the corners": (
        lambda: placed(lambda s: {"probe": np.fft.ifftshift(blob())}),
        MENDED,
        "at the corners of its frame",
    ),
    "probe off centre": (
        lambda: placed(lambda s: {"probe": np.roll(blob(), (6, -9), (0, 1))}),
        MENDED,
        "move by (-6, 9)",
    ),
    "a probe of nothing": (lambda: placed(lambda s: {"probe": 0 * blob()}), REFUSED, "it is zero, or not finite"),
    "a probe of NaN": (lambda: placed(lambda s: {"probe": np.nan * blob()}), REFUSED, "it is zero, or not finite"),
    "dead columns": (lambda: without(slice(None), gap), MENDED, "as in column 36, column 37, column 38, column 39"),
    "dead rows": (lambda: without(gap), MENDED, "as in row 36, row 37, row 38, row 39"),
    "a dead block": (lambda: without(slice(28, 31), slice(35, 41)), MENDED, "18 dead ones amid light"),
    "a dead pixel": (lambda: without(30, 30), MENDED, "1 dead ones amid light, the first at (y, x) = (30, 30)"),
    "a beam-stop": (lambda: without(slice(30, 35), slice(30, 35)), MENDED, "25 pixels: a beam-stop"),
    "flags without a mask": (
        lambda: changed(lambda n: np.where(np.arange(N) == 20, 2**32 - 1, n).astype(np.uint32)),
        MENDED,
        "64 hold 4294967295 throughout",
    ),
    "flags of 16 bits between modules": (
        lambda: changed(lambda n: np.where(np.arange(N) // 4 == 5, 65535, n).astype(np.uint16)),
        MENDED,
        "256 hold 65535 throughout",
    ),
    "a beam that fills the counter throughout": (
        lambda: changed(lambda n: np.where(r < 2, 65535, np.minimum(n, 65535)).astype(np.uint16), dose=3e6),
        DOUBTFUL,
        "equal the largest, 65535",
    ),
    "blank patterns": (
        lambda: changed(lambda n: n * (np.arange(SIDE**2) % 50 > 0)[:, None, None]),
        MENDED,
        "4 of 196 are blank",
    ),
    "a mask that leaves out the light": (lambda: masked(np.eye(N) > 0), REFUSED, "and most of the light: inverted?"),
    "a mask that leaves nothing": (lambda: masked(np.zeros((N, N), bool)), REFUSED, "leaves no valid pixel"),
    "a mask of each frame": (lambda: masked(some), REFUSED, "of each frame, (196, 64, 64)"),
    "a lattice in step with the scan": (lambda: scan(jitter=0.0, object=lattice), REFUSED, "all are alike"),
    "no object": (lambda: scan(object=lambda size: np.ones((size, size), np.complex64)), REFUSED, "all are alike"),
    "no overlap": (lambda: scan(side=8, step=30), REFUSED, "of the probe's diameter; expected 30% or more"),
    "no overlap, probe given": (lambda: scan(side=8, step=30, given=True), REFUSED, "expected 50% or more"),
    "little overlap, probe given": (lambda: scan(side=8, step=15, given=True), DOUBTFUL, "expected 50% or more"),
    "little overlap": (lambda: scan(side=8, step=19), MENDED, "expected 30% or more"),
    "no overlap, each place exposed twice": (
        lambda: twice(scan(side=8, step=30, given=True)),
        REFUSED,
        "expected 50% or more; steps of 23.1 pixels",
    ),
    "little overlap, each place exposed twice": (
        lambda: twice(scan(side=8, step=15, given=True)),
        DOUBTFUL,
        "expected 50% or more; steps of 1",
    ),
    "seven patterns": (lambda: mend.only(scan(), np.arange(SIDE**2) < 7), REFUSED, "patterns: 7; expected 8 or more"),
    "one pattern": (lambda: mend.only(scan(), np.arange(SIDE**2) < 1), REFUSED, "patterns: 1; expected 8 or more"),
    "a near field": (lambda: scan(side=8, step=50), REFUSED, "near field?"),
    "light up to the edge": (
        lambda: changed(lambda n: rng.poisson(20 * rng.exponential(np.exp(-r / 60), n.shape))),
        REFUSED,
        "near field, or a detector that is too small?",
    ),
    "a large Fresnel number": (
        lambda: in_metres(scan(given=True), detector_pixel=1.2e-7, distance=2e-3),
        REFUSED,
        "Fresnel number",
    ),
    "metres for pixels": (
        lambda: placed(lambda s: {"x": s.x * 2.8e-8, "y": s.y * 2.8e-8}),
        REFUSED,
        "expected pixels, found metres?",
    ),
    "micrometres for pixels": (
        lambda: placed(lambda s: {"x": s.x * 0.028, "y": s.y * 0.028}),
        REFUSED,
        "another unit?",
    ),
    "millimetres for metres": (lambda: in_metres(scan(), 1e3), REFUSED, "m = 67000 pixels"),
    "micrometres for metres": (
        lambda: in_metres(scan(), 1e6),
        REFUSED,
        "expected metres, found pixels or micrometres?",
    ),
    "an encoder's glitch": (
        lambda: placed(lambda s: {"x": s.x + glitch}),
        REFUSED,
        "(position 57): an encoder's glitch?",
    ),
    "keV for joules": (lambda: in_metres(scan(), energy=8.0), REFUSED, "expected joules, found keV?"),
    "eV for joules": (lambda: in_metres(scan(), energy=8e3), REFUSED, "expected joules, found eV?"),
    "two scans": (
        lambda: placed(lambda s: {"scan_index": (np.arange(SIDE**2) >= 100).astype(int)}),
        REFUSED,
        "scan_index: 2 scans in one file (patterns: 100 of scan 0, 96 of scan 1); expected one scan per file",
    ),
    "a scan a pattern": (
        lambda: placed(lambda s: {"scan_index": np.arange(SIDE**2)}),
        REFUSED,
        "196 scans in one file (patterns: 1 of scan 0, 1 of scan 1, 1 of scan 2, ...); expected one scan per file",
    ),
    "text": (lambda: changed(lambda n: n.astype(str)), REFUSED, "of type <U21; expected real numbers"),
}


def told_of(found):
    return faults.examine(found, faults.measure(found))


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_fault_is_named_and_weighed(kind):
    make, weight, message = PLANTED[kind]
    told = told_of(make())
    assert [fault.weight for fault in told if message in str(fault)] == [weight], told
    assert all(fault.weight in (weight, MENDED) for fault in told), told


@pytest.mark.parametrize("kind", [kind for kind, (_, weight, _) in PLANTED.items() if weight == REFUSED])
def test_a_refused_scan_is_refused_in_a_line_for_each_fault(kind):
    make, _, message = PLANTED[kind]
    with pytest.raises(DataError) as caught:
        faults.ready(make())
    assert sum(message in line for line in str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("kind", [kind for kind, (_, weight, _) in PLANTED.items() if weight == MENDED])
def test_nothing_is_wrong_with_a_mended_scan_and_its_counts_are_whole(kind):
    mended, told = faults.ready(PLANTED[kind][0]())
    assert told and [fault for fault in told_of(mended) if fault.mend] == []
    counts = mended.rawdata().counts()
    assert counts.min() >= 0 and counts.sum((1, 2)).min() > 0


def test_saturation_is_told_though_what_was_mended_hides_it():
    """The sums of binned pixels show no pile-up, and neither do the counts over a dark frame."""
    small = simulated.simulate(64, 8, 4, seed=1, object_size=128)["train"].expose("1e8")
    large = rng.poisson(np.kron(small.counts(), np.ones((17, 17))) / 17**2)
    few = Scan(patterns=np.minimum(large, 150), x=small.xcoords, y=small.ycoords, metres=False)
    for found in (few, PLANTED["saturation under a dark frame"][0]()):
        mended, told = faults.ready(found)
        assert [fault.weight for fault in told if fault.about == "saturation"] == [DOUBTFUL]
        assert any(fault.weight == MENDED for fault in told) and len(mended.patterns) == len(found.patterns)


def test_fractions_behind_a_mask_are_left_unread():
    good, mask = scan(), np.ones((N, N), bool)
    mask[:, 10:14] = False
    found, told = faults.ready(replace(good, patterns=np.where(mask, good.patterns, 0.5), mask=mask))
    assert told == () and np.array_equal(found.rawdata().counts(), np.where(mask, good.patterns, 0))


def test_a_scale_makes_no_counts_of_fractions_of_intensity():
    fractions = replace(changed(lambda n: 0.37 * n), intensity_scale=2.0)
    assert not faults.counted(fractions, faults.measure(fractions))
    amplitude = replace(changed(lambda n: np.sqrt(n) / 2), intensity_scale=2.0, amplitude=True)
    assert faults.counted(amplitude, faults.measure(amplitude))


def test_a_fault_that_hides_another_is_mended_first():
    """At the corners and off centre, with a dead column, a dark frame and blank patterns."""

    def spoil(n):
        n[:, :, 40] = 0
        n[3] = 0
        return np.fft.ifftshift(np.roll(n, (3, 2), (1, 2)), axes=(1, 2)) + 40

    dark = np.full((N, N), 40)
    mended, told = faults.ready(replace(changed(spoil, dose=1e6, given=True), dark=dark))
    said = "\n".join(map(str, told))
    for message in ("a dark frame", "at the corners", "centred on (35, 34)", "column 10", "1 of 196 are blank"):
        assert message in said
    assert {fault.weight for fault in told} == {MENDED} and told_of(mended) == []
    seen = np.broadcast_to(mended.mask, (SIDE**2 - 1, N, N))
    expected = np.delete(scan(dose=1e6).patterns, 3, axis=0)
    assert np.array_equal(mended.intensity()[seen], expected[seen]) and seen[0].sum() == 61 * 62 - 61


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("shift", [(3, 2), (-6, 5)])
def test_a_shifted_pattern_is_put_back_and_its_far_edge_is_masked(shift, given):
    mended, _ = faults.ready(rolled(*shift, given=given))
    assert np.array_equal(mended.intensity(), scan().patterns)
    rows, columns = (slice(-k, None) if k > 0 else slice(0, -k) for k in shift)
    assert not mended.mask[rows].any() and not mended.mask[:, columns].any()
    assert mended.mask.sum() == (N - abs(shift[0])) * (N - abs(shift[1]))


def test_a_probe_that_moves_takes_its_positions_along():
    good = placed(lambda s: {"probe": np.roll(blob(), (6, -9), (0, 1))})
    for off in (good, in_metres(good)):
        mended = faults.ready(off)[0].in_pixels()
        assert np.array_equal(mended.probe, blob())
        np.testing.assert_allclose(mended.x - good.x, -9, atol=1e-6)
        np.testing.assert_allclose(mended.y - good.y, 6, atol=1e-6)


def test_what_lies_outside_the_mask_is_unread():
    good = replace(scan(), mask=np.arange(N) != 20)
    good = replace(good, mask=np.broadcast_to(good.mask, (N, N)).copy())
    expected = faults.measure(good)
    for value, dtype in ((2**32 - 1, np.uint32), (-1, np.int64), (np.nan, np.float64)):
        found = faults.measure(replace(good, patterns=np.where(good.mask, good.patterns, value).astype(dtype)))
        for name in ("mean", "variance", "high", "totals", "least", "bad", "divisor", "whole"):
            assert np.array_equal(getattr(found, name), getattr(expected, name)), name
        assert told_of(replace(good, patterns=np.where(good.mask, good.patterns, value).astype(dtype))) == []


def test_a_background_that_the_scan_tells_is_no_fault():
    lit = changed(lambda n: n + rng.poisson(1.0, n.shape))
    assert told_of(replace(lit, background=1.0)) == []


def test_equal_masks_of_all_frames_are_one():
    mask = np.ones((SIDE**2, N, N), bool)
    mask[:, 5] = False
    assert np.array_equal(masked(mask).mask, mask[0]) and told_of(masked(mask)) == []


@pytest.mark.parametrize("number", [0, 7])
def test_the_number_of_a_single_scan_is_no_fault(number):
    assert told_of(placed(lambda s: {"scan_index": np.full(SIDE**2, number)})) == []


GOOD = {
    **{f"{dose:.0e} photons": {"dose": dose} for dose in (3e2, 1e3, 1e5, 3e6)},
    **{f"{dose:.0e} photons, probe given": {"dose": dose, "given": True} for dose in (3e2, 3e6)},
    "a weak phase": {"dose": 1e6, "object": lambda size: smooth(size, 0.0, 0.05)},
    "a strong phase": {"dose": 1e5, "object": lambda size: smooth(size, 0.3, 4.0), "given": True},
    "fine structure": {"dose": 1e5, "object": lambda size: smooth(size, 0.3, 1.0, 0.3)},
    "coarse structure": {"dose": 1e5, "object": lambda size: smooth(size, 0.3, 1.0, 0.02)},
    "absorption alone": {"dose": 1e5, "object": lambda size: smooth(size, 0.8, 0.0)},
    "a raster": {"dose": 1e5, "jitter": 0.0},
    "long steps": {"step": 10.0, "side": 10},
    "short steps": {"step": 3.0, "side": 18},
    "a curved probe": {"probe": blob(8.0, 2.0), "given": True},
    "a steady light but for 3 %": {"gain": 1 + 0.03 * np.random.default_rng(7).normal(size=SIDE**2)},
}


@pytest.mark.parametrize("kind", GOOD)
def test_nothing_looks_wrong_with_a_good_scan(kind):
    assert told_of(scan(**GOOD[kind])) == []


@pytest.mark.parametrize("dose", ["1e2", "1e4", "1e7", "1e9"])
@pytest.mark.parametrize("illumination", ["disk", "gaussian", "zone_plate"])
def test_nothing_looks_wrong_with_the_studys_own_scans(illumination, dose):
    for kind, phase in (("lines", 0.0), ("grf", 3.0), ("siemens", 1.0)):
        made = simulated.simulate(N, 150, 4, 1, phase, kind, None, illumination)["train"].expose(dose)
        found = Scan(patterns=made.counts(), x=made.xcoords, y=made.ycoords, metres=False, probe=made.probeGuess)
        assert told_of(found) == [], kind
