"""The Cramér-Rao bound against a dense Fisher matrix, against counting photons, and against what an estimator does."""

from functools import cache

import numpy as np
import pytest
from scipy import sparse

from ptycho.judge import frc
from ptycho.judge.cramer_rao import information_bound
from ptycho.judge.metrics import evaluate
from ptycho.physics.probes import disk
from ptycho.physics.samples import make_object, random_positions
from ptycho.scans import simulated
from ptycho.scans.reconstruction import Reconstruction

N, SIZE = 16, 34


@cache
def scan(modes=1, n=300, seed=0):
    """Object, probe and positions of a scan small enough for its Fisher matrix."""
    O = make_object("lines", SIZE, seed, phase=1.0).astype(np.complex128)
    P = disk(N, 4.0)
    if modes == 2:
        P = np.stack([P, 0.5j * np.roll(disk(N, 3.0), (1, -1), (0, 1))])
    return O, P, *random_positions(n, SIZE, N, np.random.default_rng(seed))


SEEN = np.random.default_rng(5).random((N, N)) < 0.7
"""Pixels that a fit sees, and of the valid ones below all but a few."""
VALID = SEEN | (np.random.default_rng(6).random((N, N)) < 0.5)


@cache
def bound(modes=1, masked=False):
    return information_bound(*scan(modes), **({"mask": VALID, "fitted": SEEN} if masked else {}))


@cache
def forward(modes=1):
    """The far fields as one matrix: Psi = A O, (modes, patterns * N^2, SIZE^2), from hat functions and Fourier sums."""
    _, P, x, y = scan(modes)
    index = np.arange(N) - N // 2
    F = np.exp(-2j * np.pi * np.outer(index, index) / N) / np.sqrt(N)
    F = np.kron(F, F)
    pixel = np.arange(SIZE)
    rows = []
    for mode in P.reshape(-1, N, N):
        lit = np.flatnonzero(np.abs(mode.ravel()) > 0)
        patterns = []
        for k in range(len(x)):
            hats = [np.maximum(0, 1 - np.abs(pixel - (at + index)[:, None])) for at in (y[k], x[k])]
            T = sparse.csr_array(np.kron(*hats)[lit])
            patterns.append(sparse.csr_array(F[:, lit] * mode.ravel()[lit]) @ T)
        rows.append(sparse.vstack(patterns).tocsr())
    return rows


def rates(O, A, s):
    return s**2 * sum(np.abs(a @ O.ravel()) ** 2 for a in A)


def jacobian(O, A, s, unknown):
    """d lambda / d theta = 2 s^2 Re(conj(Psi) dPsi), (patterns * N^2, 2 pixels): of real, then of imaginary parts."""
    B = sum(sparse.diags_array((a @ O.ravel()).conj()) @ a for a in A).tocsc()[:, np.flatnonzero(unknown)]
    return 2 * s**2 * sparse.hstack([B.real, -B.imag]).tocsr()


def scale(O, A, n, nphotons):
    return np.sqrt(nphotons * n / rates(O, A, 1.0).sum())


@cache
def covariance(modes, nphotons):
    """I = J^T diag(1/lambda) J and the pseudo-inverse, without the global phase."""
    O, _, x, _ = scan(modes)
    A = forward(modes)
    s = scale(O, A, len(x), nphotons)
    J = jacobian(O, A, s, bound(modes).unknown)
    J = sparse.diags_array(1 / np.sqrt(rates(O, A, s))) @ J
    information = np.zeros((J.shape[1], J.shape[1]))
    for start in range(0, J.shape[0], 4096):
        some = J[start : start + 4096].toarray()
        information += some.T @ some
    values, vectors = np.linalg.eigh(information)
    kept = values > 1e-10 * values[-1]
    return information, (vectors[:, kept] / values[kept]) @ vectors[:, kept].T


def judged_trace(C, O, unknown, mask):
    """tr(Q C Q) / sum |O|^2 over the mask, with scale, phase and ramps projected out one after the other."""
    inside = np.tile(mask[unknown], 2)
    C = C[np.ix_(inside, inside)]
    y, x = np.nonzero(mask)
    directions = []
    for field in (O[mask], 1j * O[mask], 1j * y * O[mask], 1j * x * O[mask]):
        v = np.concatenate([field.real, field.imag])
        for u in directions:
            v = v - u * (u @ v)
        directions.append(v / np.linalg.norm(v))
    removed = sum(u @ C @ u for u in directions)
    return (np.trace(C) - removed) / np.sum(np.abs(O[mask]) ** 2)


@pytest.mark.parametrize(("modes", "nphotons"), [(1, 3.0), (1, 1e7), pytest.param(2, 1e7, marks=pytest.mark.slow)])
def test_the_bound_is_that_of_the_dense_fisher_matrix_at_any_dose(modes, nphotons):
    found = bound(modes)
    _, C = covariance(modes, nphotons)
    exact = judged_trace(C, scan(modes)[0], found.unknown, found.mask)
    assert found.standard_error < 0.02 * found.at_one_photon
    assert found.relative_mse(nphotons) == pytest.approx(exact, rel=4 * found.standard_error / found.at_one_photon)


def test_photons_are_counted_on_valid_pixels_and_tell_of_those_that_a_fit_sees():
    found, (O, _, x, _) = bound(masked=True), scan()
    A = forward()
    seen, valid = (np.tile(pixels.ravel(), len(x)) for pixels in (SEEN, VALID))
    s = np.sqrt(len(x) / rates(O, A, 1.0)[valid].sum())
    J = jacobian(O, [a[seen] for a in A], s, found.unknown)
    J = (sparse.diags_array(1 / np.sqrt(rates(O, A, s)[seen])) @ J).toarray()
    C = np.linalg.pinv(J.T @ J, rcond=1e-10, hermitian=True)
    exact = judged_trace(C, O, found.unknown, found.mask)
    assert found.at_one_photon == pytest.approx(exact, rel=4 * found.standard_error / found.at_one_photon)
    assert found.at_one_photon > 1.1 * bound().at_one_photon


def test_the_noise_of_each_ring_is_that_of_the_dense_covariance():
    found, O = bound(), scan()[0]
    mask, inside = found.mask, np.tile(found.mask[found.unknown], 2)
    C = covariance(1, 1e7)[1][np.ix_(inside, inside)] * 1e7
    y, x = np.nonzero(mask)
    removed = np.stack([O[mask], 1j * O[mask], 1j * y * O[mask], 1j * x * O[mask]], axis=1)
    removed = np.concatenate([removed.real, removed.imag])
    Q = np.eye(len(C)) - removed @ np.linalg.pinv(removed)
    box = tuple(slice(axis.min(), axis.max() + 1) for axis in (y, x))
    window = frc.evaluation_window(mask[box])
    u = O[mask] / np.abs(O[mask])
    contrasts = {
        "amplitude": np.hstack([np.diag(u.real), np.diag(u.imag)]),
        "phase": np.hstack([np.diag(-u.imag), np.diag(u.real)]) / np.abs(O[mask])[:, np.newaxis],
    }
    for contrast, L in contrasts.items():
        values, vectors = np.linalg.eigh(L @ Q @ C @ Q @ L.T)
        images = np.zeros((len(values), *mask[box].shape))
        images[:, mask[box]] = vectors.T
        exact = sum(value * frc.ring_power(one, window)[1] for value, one in zip(values, images, strict=True))
        ratio = found.rings[contrast].noise / exact
        assert ratio.mean() == pytest.approx(1, abs=0.05) and np.abs(ratio - 1).max() < 0.3, (contrast, ratio)


def test_global_phase_is_no_information():
    O, unknown = scan()[0], bound().unknown
    information, _ = covariance(1, 3.0)
    phase = np.concatenate([(1j * O[unknown]).real, (1j * O[unknown]).imag])
    brightness = np.concatenate([O[unknown].real, O[unknown].imag])
    # the pixels taken as known hold the phase too, but hardly see light
    assert phase @ information @ phase < 1e-3 * brightness @ information @ brightness


@pytest.mark.parametrize("modes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_no_scan_does_better_than_counting_photons(modes):
    found = bound(modes)
    assert found.at_one_photon > found.counting
    assert found.mask.sum() > 300
    assert np.all(found.unknown[found.mask])


@pytest.mark.slow
def test_between_the_pixels_information_is_lost():
    """Bilinear sampling averages neighbours: by (2/3)^2 in each pixel's own information, and by 3 in the bound."""
    split = simulated.simulate(64, 4, 4, seed=3)["train"]
    O, P = split.object[60:180, 60:180], split.probe
    rng = np.random.default_rng(0)
    x, y = rng.uniform(32, 87, (2, 700))
    between = information_bound(O, P, x, y)
    at_pixels = information_bound(O, P, np.rint(x), np.rint(y))
    assert 1 < at_pixels.at_one_photon / at_pixels.counting < 1.3
    assert between.at_one_photon / at_pixels.at_one_photon == pytest.approx(3, rel=0.15)
    # and most where neighbours differ most: between the pixels the noise is not white
    fine, coarse = slice(-8, None), slice(2, 10)
    steep, flat = (one.rings["amplitude"].noise for one in (between, at_pixels))
    assert steep[fine].mean() > 2.5 * steep[coarse].mean() and flat[fine].mean() < 1.3 * flat[coarse].mean()
    assert set(between.rings) == {"amplitude"}  # the object has no phase


@pytest.mark.slow
def test_maximum_likelihood_comes_close_and_not_below():
    """Twenty exposures fitted by Fisher scoring from the truth, judged as every reconstruction is."""
    nphotons, draws = 1e7, 20
    O, P, x, _ = scan()
    A, unknown = forward(), bound().unknown
    s = scale(O, A, len(x), nphotons)
    _, C = covariance(1, nphotons)
    coverage = coverage_of(P, *scan()[2:])
    A_transposed = A[0][:, np.flatnonzero(unknown)].T.tocsr()
    rng, errors, apart = np.random.default_rng(5), [], []
    for _ in range(draws):
        counts = rng.poisson(rates(O, A, s))
        found = O.copy()
        for _ in range(6):
            Psi = A[0] @ found.ravel()
            score = 2 * s**2 * (A_transposed @ (Psi.conj() * (counts / (s * np.abs(Psi)) ** 2 - 1)))
            step = C @ np.concatenate([score.real, -score.imag])
            found[unknown] += step[: unknown.sum()] + 1j * step[unknown.sum() :]
        assert np.linalg.norm(step) < 1e-3 * np.linalg.norm(found - O)  # converged
        judged = evaluate(Reconstruction(found, coverage, np.zeros(2)), O, counts.sum())
        errors.append(judged.relative_mse)
        apart.append([1 - judged.amplitude_frc.correlation, 1 - judged.phase_frc.correlation])
    mean, spread = np.mean(errors), np.std(errors, ddof=1) / np.sqrt(draws)
    limit = bound().relative_mse(nphotons)
    assert limit - 3 * spread < mean < 1.1 * limit
    for contrast, found in zip(("amplitude", "phase"), np.mean(apart, axis=0), strict=True):
        expected = 1 - bound().rings[contrast].expected(nphotons).correlation
        assert (found / expected).mean() == pytest.approx(1, abs=0.1), (contrast, found / expected)


def coverage_of(P, x, y):
    pixel, index = np.arange(SIZE), np.arange(N) - N // 2
    coverage = np.zeros((SIZE, SIZE))
    for k in range(len(x)):
        hats = [np.maximum(0, 1 - np.abs(pixel - (at + index)[:, None])) for at in (y[k], x[k])]
        coverage += hats[0].T @ np.abs(P) ** 2 @ hats[1]
    return coverage


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bound_and_others_agree_with_it():
    assert information_bound(*scan()).at_one_photon == bound().at_one_photon
    other = information_bound(*scan(), seed=1)
    assert 0 < abs(other.at_one_photon - bound().at_one_photon) < 5 * (other.standard_error + bound().standard_error)


def test_a_scan_that_does_not_determine_its_object_is_refused():
    with pytest.raises(ArithmeticError, match="too ill-conditioned"):
        information_bound(*scan(n=25))


def test_what_is_not_accepted_is_named():
    O, P, x, y = scan()
    with pytest.raises(ValueError, match=r"position 1 \(x = 40, y = 9\) is outside the object of shape \(34, 34\)"):
        information_bound(O, P, np.array([9.0, 40.0]), np.array([9.0, 9.0]))
    with pytest.raises(ValueError, match=r"found object \(34,\)"):
        information_bound(O[0], P, x, y)
    with pytest.raises(ValueError, match="less than 16 pixels across"):
        information_bound(O, P, x[:1], y[:1])
    for nphotons in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="nphotons is"):
            bound().relative_mse(nphotons)
