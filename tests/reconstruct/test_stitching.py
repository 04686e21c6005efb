"""Stitching: groups cut from a known object, each with a phase of its own, come back as that object."""

import numpy as np
import pytest

from ptycho.physics import probes
from ptycho.physics.samples import make_object
from ptycho.reconstruct.groups import make_groups
from ptycho.reconstruct.stitching import stitch
from ptycho.scans.rawdata import RawData

N = 32


def make_case(gridsize=2, seed=0, H=70, W=90, M=120):
    """An object that is no square, a scan over it, and what each group would see about its centre."""
    rng = np.random.default_rng(seed)
    obj = make_object("lines", 96, seed, phase=2.0)[:H, :W]
    x, y = rng.uniform(N / 2 + 1, W - N / 2 - 2, M), rng.uniform(N / 2 + 1, H - N / 2 - 2, M)
    probe = probes.disk(N)
    groups = make_groups(RawData(np.ones((M, N, N), np.float32), x, y, probe), gridsize, seed=seed)
    centres = groups.coords_offsets[:, 0, :, 0].astype(int)
    padded = np.pad(obj, N, constant_values=1)  # frames may reach beyond the object; the light does not
    cut = np.stack([padded[cy + N // 2 : cy + 3 * N // 2, cx + N // 2 : cx + 3 * N // 2] for cx, cy in centres])
    return obj, groups, cut.astype(np.complex64), probe


def in_frame(obj, reconstruction):
    """The known object on the reconstruction's own pixels."""
    top, left = reconstruction.origin_yx.astype(int)
    h, w = reconstruction.object.shape
    return np.pad(obj, N, constant_values=1)[top + N : top + N + h, left + N : left + N + w]


def error(reconstruction, obj):
    """Relative error where light fell, up to one phase."""
    seen = reconstruction.coverage > 0
    a, b = reconstruction.object[seen], in_frame(obj, reconstruction)[seen]
    overlap = np.vdot(a, b)
    return np.linalg.norm(a * overlap / abs(overlap) - b) / np.linalg.norm(b)


@pytest.mark.parametrize("gridsize", [1, 2, 3])
def test_groups_with_random_phases_come_back_exactly(gridsize):
    obj, groups, cut, probe = make_case(gridsize)
    phases = np.random.default_rng(1).uniform(-np.pi, np.pi, (len(cut), 1, 1))
    reconstruction = stitch((cut * np.exp(1j * phases)).astype(np.complex64), groups, probe)
    assert error(reconstruction, obj) < 1e-5
    assert reconstruction.object.dtype == np.complex64 and reconstruction.coverage.dtype == np.float32
    assert reconstruction.origin_yx.dtype == np.float64
    assert (reconstruction.coverage > 0).sum() > 1500  # of the 39 x 59 pixels that centres lie on, and around them


def test_without_synchronised_phases_the_object_would_cancel():
    """The same groups, averaged as they are: what the previous test would see if phases were left alone."""
    _, groups, cut, probe = make_case()
    phases = np.random.default_rng(1).uniform(-np.pi, np.pi, (len(cut), 1, 1))
    reconstruction = stitch((cut * np.exp(1j * phases)).astype(np.complex64), groups, probe)
    corner = (groups.coords_offsets[:, 0, ::-1, 0] - N // 2 - reconstruction.origin_yx).astype(int)
    total, times = np.zeros(reconstruction.object.shape, complex), np.zeros(reconstruction.object.shape)
    for (top, left), group in zip(corner, cut * np.exp(1j * phases), strict=True):
        total[top : top + N, left : left + N] += group
        times[top : top + N, left : left + N] += 1
    seen = reconstruction.coverage > 0
    assert np.abs(total[seen] / times[seen]).mean() < 0.5 * np.abs(reconstruction.object[seen]).mean()


def test_origin_is_the_frame_of_the_first_pixel():
    """One bright pixel, off the diagonal, must be found where it is: nothing is transposed or shifted."""
    _, groups, _, probe = make_case()
    obj = np.ones((70, 90), np.complex64)
    obj[30, 52] = 4
    padded = np.pad(obj, N, constant_values=1)
    centres = groups.coords_offsets[:, 0, :, 0].astype(int)
    cut = np.stack([padded[cy + N // 2 : cy + 3 * N // 2, cx + N // 2 : cx + 3 * N // 2] for cx, cy in centres])
    reconstruction = stitch(cut, groups, probe)
    peak = np.unravel_index(np.argmax(np.abs(reconstruction.object)), reconstruction.object.shape)
    np.testing.assert_array_equal(peak + reconstruction.origin_yx, (30, 52))
    np.testing.assert_array_equal(reconstruction.origin_yx, centres.min(axis=0)[::-1] - N // 2)
    np.testing.assert_array_equal(reconstruction.object.shape, np.ptp(centres, axis=0)[::-1] + N)


@pytest.mark.parametrize(
    "turn", [lambda cut: cut.swapaxes(1, 2), lambda cut: cut[:, ::-1], lambda cut: cut[:, :, ::-1]]
)
def test_a_wrong_order_of_axes_would_be_seen(turn):
    obj, groups, cut, probe = make_case()
    assert error(stitch(np.ascontiguousarray(turn(cut)), groups, probe), obj) > 0.2


def test_trap_a_two_pixel_frame_error_would_be_seen():
    obj, groups, cut, probe = make_case()
    assert error(stitch(np.roll(cut, 2, axis=2), groups, probe), obj) > 0.1


def test_coverage_is_the_light_of_all_groups():
    """At each position the probe's intensity, split bilinearly between pixels; a pattern counts in all its groups."""
    _, groups, cut, probe = make_case(gridsize=1)
    coverage = stitch(cut, groups, probe).coverage
    origin = stitch(cut, groups, probe).origin_yx
    expected = np.zeros((200, 200))
    light = np.abs(probe) ** 2
    for x, y in zip(groups.data.xcoords, groups.data.ycoords, strict=True):
        top, left = y - N // 2 - origin[0], x - N // 2 - origin[1]
        i, j = int(np.floor(top)), int(np.floor(left))
        v, u = top - i, left - j
        for dy, dx, weight in ((0, 0, (1 - v) * (1 - u)), (0, 1, (1 - v) * u), (1, 0, v * (1 - u)), (1, 1, v * u)):
            expected[i + dy + 1 : i + dy + 1 + N, j + dx + 1 : j + dx + 1 + N] += weight * light
    h, w = coverage.shape
    np.testing.assert_allclose(coverage, expected[1 : h + 1, 1 : w + 1], atol=1e-3)


def test_groups_are_weighed_by_the_light_they_saw():
    """Where a group's own light fades, what it says counts for nothing."""
    obj, groups, cut, probe = make_case(gridsize=1)
    index = np.arange(N) - N // 2
    far = np.hypot(index[:, None], index) > 8  # the disk's radius is 5.5, at most half a pixel and a pixel away
    spoilt = np.where(far, 50 + 50j, cut).astype(np.complex64)
    assert error(stitch(spoilt, groups, probe), obj) < 1e-5


def test_uncovered_pixels_are_one_and_have_no_coverage():
    _, groups, cut, probe = make_case()
    reconstruction = stitch(cut, groups, probe)
    dark = reconstruction.coverage == 0
    assert dark[0, 0] and 0 < dark.mean() < 0.8
    assert (reconstruction.object[dark] == 1).all() and (reconstruction.coverage >= 0).all()


def test_islands_that_share_no_light_each_come_back_with_a_phase_of_their_own():
    rng = np.random.default_rng(0)
    obj = make_object("lines", 128, 0, phase=1.0)
    x = np.concatenate([rng.uniform(20, 35, 40), rng.uniform(90, 105, 40)])
    y = rng.uniform(40, 55, 80)
    probe = probes.disk(N)
    groups = make_groups(RawData(np.ones((80, N, N), np.float32), x, y, probe), 2)
    centres = groups.coords_offsets[:, 0, :, 0].astype(int)
    cut = np.stack([obj[cy - N // 2 : cy + N // 2, cx - N // 2 : cx + N // 2] for cx, cy in centres])
    phases = np.exp(1j * rng.uniform(-np.pi, np.pi, (80, 1, 1)))
    reconstruction = stitch((cut * phases).astype(np.complex64), groups, probe)
    assert np.isfinite(reconstruction.object).all()
    top, left = reconstruction.origin_yx.astype(int)
    h, w = reconstruction.object.shape
    truth, seen = obj[top : top + h, left : left + w], reconstruction.coverage > 0
    for half in (slice(None, w // 2), slice(w // 2, None)):
        a, b = reconstruction.object[:, half][seen[:, half]], truth[:, half][seen[:, half]]
        assert abs(np.vdot(a, b)) > (1 - 1e-6) * np.linalg.norm(a) * np.linalg.norm(b)


def test_incoherent_modes_light_what_any_of_them_lights():
    obj, groups, cut, probe = make_case()
    modes = np.stack([probe, 0.5j * probe])
    two, one = stitch(cut, groups, modes), stitch(cut, groups, probe)
    np.testing.assert_allclose(two.coverage, 1.25 * one.coverage, rtol=1e-5)
    assert error(two, obj) < 1e-5
