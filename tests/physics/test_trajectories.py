import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptycho.physics.samples import random_positions, to_frame


@settings(deadline=None, max_examples=150)
@given(
    n=st.integers(1, 700),
    N=st.sampled_from([16, 64, 128]),
    extra=st.integers(1, 300),
    seed=st.integers(0, 2**16),
)
def test_every_patch_of_every_scan_lies_inside_the_object(n, N, extra, seed):
    size = N + extra
    x, y = random_positions(n, size, N, np.random.default_rng(seed))
    for c in (x, y):
        assert c.shape == (n,) and c.dtype == np.float64
        assert c.min() >= N / 2 and c.max() <= size - N / 2 - 1


def test_scans_cover_the_square_evenly():
    x, y = random_positions(2000, 256, 64, np.random.default_rng(0))
    cells, _, _ = np.histogram2d(y, x, bins=5, range=[[32, 191 + 32]] * 2)
    assert cells.min() > 0.6 * 80 and cells.max() < 1.5 * 80


def test_seeds_decide_the_positions():
    first, again, other = (random_positions(50, 256, 64, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.isin(np.concatenate(first), np.concatenate(other)).any()


def test_to_frame_puts_the_first_patch_at_the_margin():
    x, y = to_frame(np.array([-5.5, 3.0]), np.array([100.0, 90.25]), N=64)
    assert (x.min() - 32, y.min() - 32) == (2, 2)
    assert np.allclose([np.ptp(x), np.ptp(y)], [8.5, 9.75])


@pytest.mark.parametrize(
    ("n", "size", "message"),
    [(0, 256, "number of positions is 0"), (5, 64, "object size is 64 pixels; expected at least N")],
)
def test_bad_arguments_are_named(n, size, message):
    with pytest.raises(ValueError, match=message):
        random_positions(n, size, 64, np.random.default_rng(0))
