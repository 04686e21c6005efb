import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptycho.physics.samples import SCANS, make_scan, raster, spiral, to_frame


@settings(deadline=None, max_examples=150)
@given(
    kind=st.sampled_from(SCANS),
    n=st.integers(1, 700),
    N=st.sampled_from([16, 64, 128]),
    extra=st.integers(1, 300),
    seed=st.integers(0, 2**16),
)
def test_every_patch_of_every_scan_lies_inside_the_object(kind, n, N, extra, seed):
    size = N + extra
    x, y = make_scan(kind, n, size, N, np.random.default_rng(seed))
    for c in (x, y):
        assert c.shape == (n,) and c.dtype == np.float64
        assert c.min() >= N / 2 and c.max() <= size - N / 2 - 1


@pytest.mark.parametrize("kind", SCANS)
def test_scans_cover_the_square_evenly(kind):
    x, y = make_scan(kind, 2000, 256, 64, np.random.default_rng(0))
    cells, _, _ = np.histogram2d(y, x, bins=5, range=[[32, 191 + 32]] * 2)
    assert cells.min() > 0.6 * 80 and cells.max() < 1.5 * 80


@pytest.mark.parametrize("kind", SCANS)
def test_seeds_decide_the_positions(kind):
    first, again, other = (make_scan(kind, 50, 256, 64, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.isin(np.concatenate(first), np.concatenate(other)).any()


def test_raster_without_jitter_is_a_grid_and_with_it_stays_near():
    x, y = raster(100, 264, 64, np.random.default_rng(0), jitter=0)
    assert len(np.unique(x)) == len(np.unique(y)) == 10
    moved_x, moved_y = raster(100, 264, 64, np.random.default_rng(0), jitter=0.25)
    step = np.diff(np.unique(x)).mean()
    for moved, still in ((moved_x, x), (moved_y, y)):
        assert 0.2 * step < np.abs(moved - still).max() <= 0.25 * step + 1e-9


def test_spiral_has_no_two_positions_close_together():
    x, y = spiral(300, 300, 64, np.random.default_rng(0))
    distance = np.hypot(x[:, None] - x, y[:, None] - y) + 1e9 * np.eye(300)
    assert distance.min() > 0.5 * np.sqrt(235**2 / 300)


def test_to_frame_puts_the_first_patch_at_the_margin():
    x, y = to_frame(np.array([-5.5, 3.0]), np.array([100.0, 90.25]), N=64)
    assert (x.min() - 32, y.min() - 32) == (2, 2)
    assert np.allclose([np.ptp(x), np.ptp(y)], [8.5, 9.75])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda rng: make_scan("helix", 5, 256, 64, rng),
            "scan kind is 'helix'; expected one of random, raster, spiral",
        ),
        (lambda rng: make_scan("random", 0, 256, 64, rng), "number of positions is 0"),
        (lambda rng: make_scan("spiral", 5, 64, 64, rng), "object size is 64 pixels; expected at least N"),
        (lambda rng: raster(5, 256, 64, rng, jitter=0.7), "raster jitter is 0.7"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.random.default_rng(0))
