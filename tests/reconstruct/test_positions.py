"""Positions that are pixels off: what moves them all, what moves each, and what must stay where it is."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from bench import positions as bench
from ptycho.physics import optics, photons, probes, samples
from ptycho.reconstruct import positions, reference, search
from ptycho.scans.rawdata import RawData

WIDTH = 22  # of the probe, pixels


def scan(move, seed=0, raster=False, dose=1e6):
    """144 positions, 5 pixels apart, and where they truly are: `move` (2, M) -> (2, M) says how far off."""
    rng = np.random.default_rng(seed)
    told = 0.5 * (bench.raster(144) if raster else bench.spiral(144))
    true = told + move(told, rng)
    middle = (true.max(axis=1, keepdims=True) + true.min(axis=1, keepdims=True)) / 2
    told, true = told - middle + 80, true - middle + 80
    P, O = probes.zone_plate(64, defocus=WIDTH / 2 / 0.25), samples.make_object("lines", 160, seed + 3, phase=1.0)
    diff3d, s = photons.expose(photons.ideal_amplitude(O, P, *true), dose, rng)
    return RawData(diff3d, told[0], told[1], P, nphotons=dose, intensity_scale=s), true


def rms(data, true):
    """Of the distances, free of a common shift."""
    return np.sqrt(np.mean(np.sum(bench.left(np.stack([data.xcoords, data.ycoords]), true) ** 2, axis=0)))


def disk(radius):
    def move(told, rng):
        r, angle = radius * np.sqrt(rng.random(told.shape[1])), 2 * np.pi * rng.random(told.shape[1])
        return r * np.array([np.cos(angle), np.sin(angle)])

    return move


@pytest.mark.slow
def test_errors_of_a_sixth_of_the_probe_are_found():
    data, true = scan(disk(0.16 * WIDTH))
    assert rms(data, true) > 2.3
    assert rms(search.find_positions(data, 1, seed=1), true) < 0.3


@pytest.mark.slow
def test_right_positions_stay():
    data, true = scan(disk(0), dose=1e4)
    assert rms(data, true) < 1e-9
    assert rms(search.find_positions(data, 1, seed=1), true) < 0.2  # 0.11 measured


def test_the_gradient_places_what_is_a_pixel_off():
    data, true = scan(disk(1.5))
    found = search.Search(data, 1, seed=1)
    found.polish()
    y, x = (found.place.corner + found.place.n // 2).T
    assert rms(data, true) > 1
    assert rms(replace(data, xcoords=x, ycoords=y), true) < 0.25


def late(told):
    """1 in every other row of a raster: what a stage that is read late is off by."""
    return np.rint((told[1] - told[1].min()) / np.ptp(told[1]) * (np.sqrt(len(told[1])) - 1)) % 2


def play(told):
    """The same of a stage with play: at the first position of a row it is still where the last row left it."""
    row = late(told)
    return np.where(np.diff(row, prepend=row[0]) != 0, 1 - row, row)


SHARED = {
    "affine": (
        lambda told, rng: np.array([[0.05, 0.02], [-0.02, 0.04]]) @ (told - told.mean(axis=1, keepdims=True)),
        0,
    ),
    "late": (lambda told, rng: np.array([[2.5], [0]]) * late(told), 1),
    "play": (lambda told, rng: np.array([[2.5], [0]]) * play(told), 1),
    "drift": (lambda told, rng: np.array([[3.0], [-2.0]]) * np.sin(1.5 * np.linspace(-1, 1, told.shape[1])), 0),
}


@pytest.mark.parametrize(
    "kind", ["affine", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("late", "play", "drift"))]
)
def test_what_moves_all_positions_is_found(kind):
    move, raster = SHARED[kind]
    data, true = scan(move, raster=raster)
    found = search.Search(data, 1, seed=1)
    found.together(found.fit())
    y, x = (found.place.corner + found.place.n // 2).T
    assert rms(data, true) > 1
    assert rms(replace(data, xcoords=x, ycoords=y), true) < 0.15


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "dose", "limit"),
    [
        ("random", "1e6", 0.5),
        ("random", "1e4", 1.0),
        ("drift", "1e6", 0.5),
        ("backlash", "1e6", 0.5),
        ("right", "1e4", 0.3),
    ],
)
def test_the_full_scan_within_its_limits(tmp_path, case, dose, limit):
    """481 positions, N = 128, a 48-pixel probe of three modes, errors of up to 7 pixels, 5 rms."""
    data, true = bench.simulate(case, float(dose), "lines", seed=1)
    data.save(tmp_path / "scan.npz")
    found = reference.make_reference("scan.npz", tmp_path, 1, "as-is", modes=3, positions="refine").scan
    moved = replace(
        data,
        objectGuess=None,
        xcoords=data.xcoords + found.xcoords - found.xcoords_start,
        ycoords=data.ycoords + found.ycoords - found.ycoords_start,
    )
    assert case != "random" or rms(data, true) == pytest.approx(5, abs=0.2)
    assert rms(moved, true) < limit


def test_the_lowest_of_a_map_is_found_between_its_points():
    rng = np.random.default_rng(0)
    at = rng.uniform(-1.4, 1.4, (20, 2))
    y, x = np.mgrid[-2:3, -2:3]
    maps = [2.0 * (y - v) ** 2 + 0.5 * (x - u) ** 2 for v, u in at]
    np.testing.assert_allclose(search.lowest(np.stack(maps)), at, atol=1e-9)
    edge = search.lowest(np.stack([(y - 9.0) ** 2 + (x + 9.0) ** 2]))
    assert edge.tolist() == [[2, -2]]  # not beyond what was tried


@pytest.mark.slow
def test_trials_know_the_background():
    """Object, probe and positions are true, and a count a pixel lies beside the scan's: few patterns are moved."""
    data, _ = scan(disk(0), dose=1e4)
    rng = np.random.default_rng(1)
    counts = data.counts() + rng.poisson(1.0, data.diff3d.shape)
    bright = replace(data, diff3d=(np.sqrt(counts) / data.intensity_scale).astype(np.float32), background=1.0)
    moved = {}
    for name, one in {"none": data, "known": bright, "untold": replace(bright, background=None)}.items():
        found = search.Search(one, 1, seed=1)
        O, (top, left) = samples.make_object("lines", 160, 3, phase=1.0), found.place.origin.astype(int)
        H, W = found.place.shape
        padded = np.pad(O, 60, mode="edge")[60 + top : 60 + top + H, 60 + left : 60 + left + W]
        found.problem.variables["object"].assign(np.stack([padded.real, padded.imag]))
        before = found.place.variables["shift"].numpy()
        found.each(1.0)
        moved[name] = np.mean(np.any(found.place.variables["shift"].numpy() != before, axis=1))
    assert moved["known"] < moved["none"] + 0.1 and moved["untold"] > 2 * moved["known"]


def test_variances_are_those_of_the_likelihood():
    y, x = np.mgrid[-2:3, -2:3]
    # of an error 2 y^2 + x^2 / 8 the log-likelihood is -4 y^2 - x^2 / 4: variances of 1/8 and 2
    bowl, flat = 2.0 * y**2 + x**2 / 8, np.zeros((5, 5))
    np.testing.assert_allclose(search.variances(np.stack([bowl, flat, -bowl])), [[1 / 8, 2], [4, 4], [4, 4]])


def test_fields_are_neither_a_shift_nor_a_strain():
    corner = bench.raster(100).T[:, ::-1] + np.random.default_rng(0).normal(0, 0.1, (100, 2))
    F = positions.fields(corner)
    np.testing.assert_allclose(np.mean(F**2, axis=0), 1)
    assert np.abs(F.T @ np.column_stack([np.ones(100), corner])).max() < 1e-6
    common = np.column_stack([np.ones(100), corner, F])
    for backlash in (late(corner.T[::-1]), play(corner.T[::-1])):
        left = backlash - common @ np.linalg.lstsq(common, backlash, rcond=None)[0]
        assert left.std() < 0.05 * backlash.std()


def test_a_strained_patch_sees_the_object_where_the_moved_position_would():
    corner = np.random.default_rng(0).uniform(0, 40, (30, 2))
    place = positions.Moved(corner, 8)
    y, x = np.mgrid[: place.shape[0], : place.shape[1]].astype(np.float32)
    O, chosen = tf.complex(tf.constant(y), tf.constant(x)), tf.constant([4, 1, 3])
    at = place.at(chosen)
    whole = tf.floor(at)
    plain = optics.bilinear_patches(O, tf.cast(whole, tf.int32), at - whole, 8)
    np.testing.assert_allclose(place.patches(O, chosen), plain, atol=1e-4)
    S = np.array([[0.05, -0.02], [0.03, 0.04]])
    place.variables["strain"].assign(S / place.unit)
    u = np.stack(np.mgrid[-4:4, -4:4])
    sampled = np.asarray(at)[:, :, None, None] + 4 + u + np.einsum("ab,bij->aij", S, u)
    found = np.asarray(place.patches(O, chosen))
    np.testing.assert_allclose(np.stack([found.real, found.imag], axis=1), sampled, atol=1e-4)
    place.settle()
    lever = corner - corner.mean(axis=0)
    np.testing.assert_allclose(place.corner - corner.mean(axis=0), lever @ np.linalg.inv(np.eye(2) + S).T, atol=1e-4)
    assert not place.variables["strain"].numpy().any()


def test_the_gradient_of_what_moves_positions_is_that_of_finite_differences():
    """Positions enter through the weights of neighbouring pixels alone; halfway between pixels these are smooth."""
    rng = np.random.default_rng(0)
    corner = np.round(rng.uniform(0, 9, (25, 2))) + rng.uniform(0.3, 0.7, (25, 2))
    place = positions.Moved(corner, 8)
    O = tf.complex(*(tf.constant(rng.normal(size=place.shape), tf.float32) for _ in range(2)))
    chosen = tf.constant([4, 1, 3])
    assert place.variables.keys() == {"strain", "bend", "shift"}
    for name, variable in place.variables.items():
        way = rng.normal(size=variable.shape).astype(np.float32)

        def value(step, way=way, variable=variable):
            variable.assign(step * way)
            return tf.reduce_sum(tf.abs(place.patches(O, chosen)) ** 2)

        with tf.GradientTape() as tape:
            at_zero = value(0.0)
        slope = tf.reduce_sum(tf.convert_to_tensor(tape.gradient(at_zero, variable.value)) * way)
        assert float(slope) == pytest.approx(float(value(0.01) - value(-0.01)) / 0.02, rel=0.02), name
        variable.assign(tf.zeros_like(variable.value))


def test_a_blurred_problem_blurs_its_object_alone():
    data, _ = scan(disk(0), dose=1e4)
    problem = search.Search(data, 1, seed=1).problem
    problem.restart(object=np.random.default_rng(0).normal(size=problem.start["object"].shape))
    image, P = (found.numpy() for found in problem.estimates())
    O, same = (found.numpy() for found in search.Blurred(problem, 2.0).estimates())
    np.testing.assert_allclose(O, ndimage.gaussian_filter(image, 2.0, mode="reflect", radius=6), atol=1e-5)
    assert np.array_equal(P, same)
