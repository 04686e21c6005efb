"""Neighbour groups: who belongs together, in which channel, where, and in which order they are shown."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ptycho.physics import probes
from ptycho.reconstruct.groups import make_groups
from ptycho.reconstruct.networks.layers import offsets_from_relative
from ptycho.scans.rawdata import RawData


def scan(x, y, N=16):
    """A scan whose pattern k holds the value k everywhere."""
    diff3d = np.broadcast_to(np.arange(len(x), dtype=np.float32)[:, None, None], (len(x), N, N))
    return RawData(diff3d, np.asarray(x, float), np.asarray(y, float), probes.disk(N))


def random_scan(M, seed=0, size=60.0, at=0.0):
    return scan(*np.random.default_rng(seed).uniform(at, at + size, (2, M)))


@given(M=st.integers(1, 60), gridsize=st.integers(1, 3), k=st.integers(1, 12), seed=st.integers(0, 99))
def test_groups_are_neighbourhoods_of_distinct_patterns_row_by_row(M, gridsize, k, seed):
    data, C = random_scan(M, seed), gridsize**2
    if M < C:
        with pytest.raises(ValueError, match=f"gridsize={gridsize} needs {C} positions; the scan has {M}"):
            make_groups(data, gridsize, k, seed)
        return
    groups = make_groups(data, gridsize, k, seed)
    assert groups.indices.shape == (M, C) and len(groups) == M
    assert groups.coords_offsets.shape == (M, 1, 2, 1) and groups.coords_offsets.dtype == np.float64
    assert groups.coords_relative.shape == (M, 1, 2, C) and groups.coords_relative.dtype == np.float32
    positions = np.stack([data.xcoords, data.ycoords], axis=1)
    near = min(max(C, k), M)
    for g, members in enumerate(groups.indices):
        assert len(set(members)) == C and g in members
        distance = np.linalg.norm(positions - positions[g], axis=1)
        assert distance[members].max() <= np.sort(distance)[near - 1]
        rows_y = data.ycoords[members].reshape(gridsize, gridsize)
        rows_x = data.xcoords[members].reshape(gridsize, gridsize)
        assert (rows_y.max(axis=1)[:-1] <= rows_y.min(axis=1)[1:]).all()  # rows from top to bottom
        assert (np.diff(rows_x, axis=1) >= 0).all()  # from left to right within a row


def test_channel_c_is_row_and_column_of_a_regular_neighbourhood():
    x, y = np.meshgrid([10.0, 20.0], [30.0, 40.0])
    groups = make_groups(scan(x.ravel()[::-1], y.ravel()[::-1]), gridsize=2)  # the scan itself in another order
    placed = groups.coords_offsets - groups.coords_relative
    for g in range(4):
        np.testing.assert_array_equal(placed[g, 0, 0], [10, 20, 10, 20])
        np.testing.assert_array_equal(placed[g, 0, 1], [30, 30, 40, 40])


@given(M=st.integers(4, 40), gridsize=st.integers(1, 2), seed=st.integers(0, 99))
def test_position_is_centre_minus_relative_and_centres_are_whole(M, gridsize, seed):
    data = random_scan(M, seed)
    groups = make_groups(data, gridsize, seed=seed)
    np.testing.assert_array_equal(groups.coords_offsets, np.rint(groups.coords_offsets))
    for axis, positions in enumerate((data.xcoords, data.ycoords)):  # (x, y)
        expected = positions[groups.indices]
        placed = groups.coords_offsets[:, 0, axis] - groups.coords_relative[:, 0, axis]
        np.testing.assert_allclose(placed, expected, atol=1e-5)
        centre = groups.coords_offsets[:, 0, axis, 0]
        assert (np.abs(centre - expected.mean(axis=1)) <= 0.5).all()
    assert groups.max_offset == np.abs(groups.coords_relative).max()


def test_offsets_are_taken_in_float64_before_they_are_rounded():
    near, far = random_scan(50), random_scan(50)
    far = scan(near.xcoords + 1e5, near.ycoords + 1e5)
    one, other = make_groups(near, 2), make_groups(far, 2)
    np.testing.assert_array_equal(one.indices, other.indices)
    # float32 positions at 1e5 px would be wrong by up to 4e-3 px
    np.testing.assert_allclose(other.coords_relative, one.coords_relative, atol=2e-6)


def test_offsets_for_the_optics_are_position_minus_centre_row_first():
    data = random_scan(20)
    groups = make_groups(data, 2)
    offsets = offsets_from_relative(groups.coords_relative).numpy()
    assert offsets.shape == (20, 4, 2)
    np.testing.assert_allclose(
        offsets[..., 0], data.ycoords[groups.indices] - groups.coords_offsets[:, 0, 1], atol=1e-5
    )
    np.testing.assert_allclose(
        offsets[..., 1], data.xcoords[groups.indices] - groups.coords_offsets[:, 0, 0], atol=1e-5
    )


def test_repeated_positions_still_give_every_pattern_its_group():
    groups = make_groups(scan(np.repeat([10.0, 20.0], 10), np.full(20, 15.0)), gridsize=2)
    assert all(g in members and len(set(members)) == 4 for g, members in enumerate(groups.indices))


def test_groups_depend_on_the_seed_alone():
    data = random_scan(50)
    np.testing.assert_array_equal(make_groups(data, 2, seed=3).indices, make_groups(data, 2, seed=3).indices)
    assert (make_groups(data, 2, seed=3).indices != make_groups(data, 2, seed=4).indices).any()


def test_a_batch_holds_amplitudes_and_positions_by_channel():
    groups = make_groups(random_scan(30), 2)
    chosen = np.array([3, 7])
    amplitude, relative = groups.batch(chosen)
    assert amplitude.shape == (2, 16, 16, 4) and amplitude.dtype == np.float32
    np.testing.assert_array_equal(amplitude[:, 0, 0], groups.indices[chosen])
    np.testing.assert_array_equal(relative, groups.coords_relative[chosen])


def shown(groups, batch_size, batches, seed):
    """For each batch the members of its groups, read from the patterns."""
    return np.array([a[:, 0, 0, :].numpy() for a, *_ in groups.dataset(batch_size, batches, seed)])


def test_a_batch_holds_amplitudes_and_positions_of_its_groups():
    groups = make_groups(random_scan(10), 2)
    for amplitude, relative, judging in groups.dataset(4, range(5)):
        members = amplitude[:, 0, 0, :].numpy().astype(int)
        chosen = [int(np.flatnonzero((groups.indices == row).all(axis=1))[0]) for row in members]
        expected = groups.batch(np.array(chosen))
        np.testing.assert_array_equal(amplitude, expected[0])
        np.testing.assert_array_equal(relative, expected[1])
        np.testing.assert_array_equal(judging, amplitude)


@given(M=st.integers(4, 20), batch_size=st.integers(1, 50), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_every_group_is_seen_before_any_is_seen_again(M, batch_size, seed):
    groups = make_groups(random_scan(M), 2)
    batches = shown(groups, batch_size, range(-(-2 * M // batch_size)), seed)
    assert batches.shape[1:] == (batch_size, 4)
    for turn in np.split(batches.reshape(-1, 4)[: 2 * M], 2):
        assert {tuple(members) for members in turn} == {tuple(members) for members in groups.indices}


def test_resumed_batches_are_the_tail_of_all_batches():
    groups = make_groups(random_scan(21), 2)
    whole = shown(groups, 7, range(15), 11)
    np.testing.assert_array_equal(shown(groups, 7, range(8, 15), 11), whole[8:])
    assert (whole[:3] != whole[3:6]).any()  # each turn has its own order
    assert (shown(groups, 7, range(3), 12) != whole[:3]).any()  # and each seed


def test_patterns_mapped_from_a_file_give_the_same_batches(tmp_path):
    groups = make_groups(random_scan(21), 2)
    np.save(tmp_path / "patterns.npy", groups.data.diff3d)
    patterns = np.load(tmp_path / "patterns.npy", mmap_mode="r")
    mapped = make_groups(replace(groups.data, diff3d=patterns), 2)
    assert np.shares_memory(mapped.data.diff3d, patterns)
    for one, other in zip(groups.dataset(5, range(9), 3), mapped.dataset(5, range(9), 3), strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


READING = """
from pathlib import Path
import numpy as np
from ptycho.physics import probes
from ptycho.reconstruct.groups import make_groups
from ptycho.scans.rawdata import RawData

def private_memory():
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("RssAnon:")[1].split()[0])

def scan(patterns):
    return RawData(patterns, *np.random.default_rng(0).uniform(0, 60, (2, len(patterns))), probes.disk(128))

list(make_groups(scan(np.ones((8, 128, 128), np.float32)), 2).dataset(4, range(2)))  # what TensorFlow itself needs
patterns = np.load("patterns.npy", mmap_mode="r")
before = private_memory()
peak = max(private_memory() for _ in make_groups(scan(patterns), 2).dataset(4, range(50)))
print(patterns.nbytes, peak - before)
"""
"""In a process of its own, whose memory no other test's leftovers move. Bytes that no file holds are counted."""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux' account of a process's memory")
@pytest.mark.slow
def test_a_scan_larger_than_memory_is_never_read_into_it(tmp_path):
    np.lib.format.open_memmap(tmp_path / "patterns.npy", "w+", np.float32, (2000, 128, 128)).flush()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", READING], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    held, grown = map(int, done.stdout.split())
    assert held > 130e6 and grown < 40e6
