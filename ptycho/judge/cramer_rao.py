"""How well the photons can do: the Cramér-Rao bound of one probe, scan and object.

Counts n_kj are Poisson with the rates of the forward model (:mod:`ptycho.physics.optics`)::

    lambda_kj = s^2 sum_l |Psi_kjl|^2        Psi_kl = FFT2(P_l T_k O) / N

The unknowns theta are the real and imaginary parts of the object's pixels. The probe and the positions are known.
Fisher's information (Kay 1993, Estimation Theory, section 3.7) of independent Poisson counts is, with the amplitudes
A = sqrt(lambda) and u_l = Psi_l / sqrt(sum_l |Psi_l|^2)::

    I = J^T diag(1/lambda) J,  J = d lambda / d theta
      = 4 sum_kj dA_kj dA_kj^T,   dA_kj[v] = s sum_l Re(conj(u_kjl) FFT2(P_l T_k v)_j / N)

No estimator without bias has a covariance below the inverse C of I. One that knows what objects look like may. I has no
inverse along the global phase, which the data do not know. The judged error does not depend on that phase.

The least errors are not white. Bilinear sampling averages neighbours, so that a scan tells the finest detail worst: on
the simulated scan of 2000 positions their power rises fourfold from coarse to fine. What photons allow to be resolved
is therefore computed from errors drawn from C, ring by ring, and not from their mean power.

On the simulated scan of 2000 positions the bound is 3.7 times that of counting photons. A factor 3 of that comes from
bilinear sampling. ``direct.fit`` reaches the bound within 3 % at 1e6 and 1e9 photons per pattern, in 100 passes on the
likelihood at a learning rate of 0.02.
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy import stats

from ptycho.errors import expect
from ptycho.judge.frc import Rings, evaluation_window, fill_holes, ring_power
from ptycho.judge.gauge import evaluation_region, flat_turn
from ptycho.judge.metrics import NO_CONTRAST, photon_bound
from ptycho.physics import optics
from ptycho.physics.probes import cropped_modes

UNKNOWN_FRACTION = 0.02  # of the coverage where a photon lands on average: less counts as known, unless it is judged
PRECISION = 0.01  # relative standard error of the mean squared error at which no further error is drawn
DRAWS = (8, 64)  # fewest and most errors: eight give 0.3 % on a scan of 40 000 pixels
TOLERANCE = 3e-3  # preconditioned residual where conjugate gradients stop: 1e-3 gives the same bound to 0.01 %
MAX_ITERATIONS = 300
Pixels = NDArray[np.bool_] | None
_BATCH_PIXELS = 2**19  # detector pixels at a time: 4 MiB complex64


@dataclass(frozen=True, eq=False)
class InformationBound:
    """The least expected relative mean-square error sum |dO|^2 / sum |O|^2 of an object over the evaluated area.

    at_one_photon: the bound at one photon per pattern; it falls as 1/dose, exactly. standard_error: of at_one_photon,
    from the errors drawn. rings: of ``'amplitude'`` and ``'phase'``, where the object has that contrast. counting:
    ``metrics.photon_bound``, which knows neither probe nor scan, at one photon per pattern. mask: (H, W) bool, the
    evaluated pixels. unknown: (H, W) bool, the estimated pixels, among them the evaluated ones.
    """

    at_one_photon: float
    standard_error: float
    rings: dict[str, Rings]
    counting: float
    mask: NDArray[np.bool_]
    unknown: NDArray[np.bool_]

    def relative_mse(self, nphotons: float) -> float:
        """The bound at ``nphotons`` photons per pattern, averaged over the scan. Raises ValueError unless positive."""
        if not (np.isfinite(nphotons) and nphotons > 0):
            raise ValueError(f"nphotons is {nphotons}; expected a finite number > 0, photons per pattern")
        return self.at_one_photon / nphotons


def information_bound(
    object: NDArray[np.complexfloating],
    probe: NDArray[np.complexfloating],
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    *,
    mask: Pixels = None,
    fitted: Pixels = None,
    seed: int = 0,
) -> InformationBound:
    """The bound on the error that :mod:`ptycho.judge.metrics` judges: tr(Q C Q) / sum |O|^2 over the evaluated pixels.

    :func:`ptycho.judge.gauge.evaluation_region` finds the evaluated pixels in the coverage. Q projects out of them what
    is removed before judging, to first order: the phase ramp and the complex scale. The scale includes the global
    phase, so any generalised inverse C of I gives the same. Pixels outside, down to ``UNKNOWN_FRACTION``, are estimated
    too. Fainter ones count as known, which can only lower the bound.

    Errors are drawn from C: with white noise xi on the data, I = G G^T and b = G xi have one covariance, so that
    C b has the covariance C (Papandreou and Yuille, NIPS 23 (2010) 1858). Conjugate gradients, preconditioned with the
    coverage, solve for C b. The bound is the mean of |Q C b|^2, and the rings are those of the error that Q C b is in
    amplitude, Re(conj(O) dO) / |O|, and in phase, Im(conj(O) dO) / |O|^2. `seed` is that of xi.

    object: (H, W) complex. probe: (N, N) or (L, N, N) complex. x, y: (M,) float, positions in pixels of the object.
    mask: (N, N), where the detector is valid, and the dose is counted. fitted: the pixels that I is of. None is all of
    them. Known background is left out: it would make the bound larger. Raises ValueError for wrong shapes, a position
    outside the object, or too little covered to be judged; ArithmeticError where the conjugate gradients do not
    converge: the scan does not determine some evaluated pixels.
    """
    model = _Fisher(object, probe, x, y, mask, fitted)
    coverage = model.coverage()
    rows, columns, box_mask = evaluation_region(coverage)
    judged = np.zeros(coverage.shape, bool)
    judged[rows, columns] = box_mask
    unknown = judged | (coverage >= UNKNOWN_FRACTION * np.sum(coverage**2) / np.sum(coverage))

    truth, window = object[rows, columns].astype(np.complex128), evaluation_window(box_mask)
    power = float(np.sum(np.abs(truth[box_mask]) ** 2))
    removed = _removed(truth, box_mask)
    rng = np.random.default_rng(seed)
    # what no pattern tells is in no error that is drawn: only an image from elsewhere, which I must reach, betrays it
    anything = np.zeros((2, *judged.shape))
    anything[:, judged] = rng.standard_normal((2, int(judged.sum())))
    _solve(model, _without(removed, anything, judged), unknown, coverage)
    shown = {"amplitude": np.abs(truth), "phase": np.angle(truth * flat_turn(truth, box_mask))}
    shown = {name: image for name, image in shown.items() if image[box_mask].std() > NO_CONTRAST}
    errors: list[float] = []
    noise: dict[str, list[NDArray[np.float64]]] = {name: [] for name in shown}
    while len(errors) < DRAWS[0] or (len(errors) < DRAWS[1] and stats.sem(errors) > PRECISION * np.mean(errors)):
        drawn = _without(removed, _solve(model, unknown * model.drawn(rng), unknown, coverage), judged)
        errors.append(float(np.sum(drawn**2) / power))
        relative = np.zeros(box_mask.shape, np.complex128)
        relative[box_mask] = (drawn[0] + 1j * drawn[1])[judged] / truth[box_mask]
        apart = {"amplitude": np.abs(truth) * relative.real, "phase": relative.imag}
        for name, found in noise.items():
            found.append(ring_power(fill_holes(apart[name], box_mask), window)[1])
    rings = {}
    for name, image in shown.items():
        frequency, signal, n = ring_power(fill_holes(image, box_mask), window)
        rings[name] = Rings(frequency, signal, np.mean(noise[name], axis=0), n)
    counting = photon_bound(int(judged.sum()), len(x) * coverage[judged].sum() / coverage.sum())
    return InformationBound(float(np.mean(errors)), float(stats.sem(errors)), rings, counting, judged, unknown)


class _Fisher:
    """The information I of a scan at one photon per pattern, as a product with images (2, H, W) float64, (re, im)."""

    def __init__(self, object: NDArray, probe: NDArray, x: NDArray, y: NDArray, mask: Pixels, fitted: Pixels):
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        found = f"object {object.shape}, x {x.shape} and y {y.shape}"
        fit = object.ndim == 2 and x.ndim == 1 and x.shape == y.shape and len(x) > 0
        expect(fit, f"found {found}; expected (H, W) and two equal (M,), M >= 1")
        H, W = object.shape
        inside = (x >= 0) & (y >= 0) & (x <= W - 1) & (y <= H - 1)  # False for NaN too
        k = int(np.argmin(inside))
        expect(inside[k], f"position {k} (x = {x[k]:.6g}, y = {y[k]:.6g}) is outside the object of shape {(H, W)}")
        self.N = probe.shape[-1]
        self.P = tf.constant(cropped_modes(probe))
        self.n = self.P.shape[-1]
        # empty space around the object: the rim of the probe may reach beyond it
        self.margin = self.n // 2 + 1
        corner = np.stack([y, x], axis=1) - self.n // 2 + self.margin
        first = np.floor(corner)
        size = max(1, _BATCH_PIXELS // self.N**2)
        batches = [slice(k, k + size) for k in range(0, len(x), size)]
        self.places = [(tf.constant(first[b], tf.int32), tf.constant((corner - first)[b], tf.float32)) for b in batches]
        self.u = []
        padded = tf.constant(np.pad(object, self.margin, constant_values=1), tf.complex64)
        valid, seen = (1 if p is None else tf.constant(np.fft.ifftshift(p), tf.float32) for p in (mask, fitted))
        energy = 0.0
        for place in self.places:
            Psi = self._field(padded, *place)
            intensity = optics.measure(Psi)
            energy += float(tf.reduce_sum(valid * intensity))
            self.u.append(optics.scale((seen / optics.amplitude(intensity))[:, tf.newaxis], Psi))
        self.s2 = len(x) / energy  # s^2 at one photon per pattern
        self.padded_shape = tuple(padded.shape)

    def _field(self, O: tf.Tensor, first: tf.Tensor, fraction: tf.Tensor) -> tf.Tensor:
        return optics.far_field(optics.illuminate(optics.bilinear_patches(O, first, fraction, self.n), self.P), self.N)

    @tf.function(jit_compile=True, autograph=False)
    def _back(
        self, v: tf.Tensor, xi: tf.Tensor | None, u: tf.Tensor, first: tf.Tensor, fraction: tf.Tensor
    ) -> tf.Tensor:
        """sum_kj xi_kj dA_kj / s, (2, H, W), of data xi (B, N, N), or where it is None of those of v: dA_kj[v] / s."""
        with tf.GradientTape() as tape:
            tape.watch(v)
            change = self._field(tf.complex(v[0], v[1]), first, fraction)
            dA = tf.reduce_sum(tf.math.real(u) * tf.math.real(change) + tf.math.imag(u) * tf.math.imag(change), axis=-3)
        return tape.gradient(dA, v, output_gradients=dA if xi is None else xi)

    def __call__(self, v: NDArray[np.float64]) -> NDArray[np.float64]:
        m = self.margin
        padded = tf.constant(np.pad(v, ((0, 0), (m, m), (m, m))), tf.float32)
        batches = zip(self.u, self.places, strict=True)
        product = sum(self._back(padded, None, u, *place).numpy().astype(np.float64) for u, place in batches)
        return 4 * self.s2 * product[:, m:-m, m:-m]

    def drawn(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """A random image (2, H, W) whose covariance is I: white noise on the data, brought back to the object."""
        nowhere, m = tf.zeros((2, *self.padded_shape)), self.margin
        image = np.zeros((2, *self.padded_shape))
        for u, place in zip(self.u, self.places, strict=True):
            xi = tf.constant(rng.standard_normal((u.shape[0], self.N, self.N)), tf.float32)
            image += self._back(nowhere, xi, u, *place).numpy().astype(np.float64)
        return 2 * np.sqrt(self.s2) * image[:, m:-m, m:-m]

    def coverage(self) -> NDArray[np.float64]:
        """sum_k T_k^T sum_l |P_l|^2, (H, W): the light on each pixel, in units of the probe."""
        light = tf.reduce_sum(optics.squared_modulus(self.P), axis=0)
        dark = tf.zeros(self.padded_shape)
        coverage = np.zeros(self.padded_shape)
        for place in self.places:
            with tf.GradientTape() as tape:
                tape.watch(dark)
                patches = optics.bilinear_patches(tf.complex(dark, dark), *place, self.n)
                collected = tf.reduce_sum(light * tf.math.real(patches))
            coverage += tape.gradient(collected, dark).numpy()
        return coverage[self.margin : -self.margin, self.margin : -self.margin]


def _removed(truth: NDArray[np.complexfloating], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Orthonormal directions that are not judged, (2 pixels, 4): modulus and phase of the scale, and the two ramps."""
    O = truth[mask]
    y, x = (axis - axis.mean() for axis in np.nonzero(mask))
    directions = np.stack([O, 1j * O, 1j * y * O, 1j * x * O], axis=1)
    return np.linalg.qr(np.concatenate([directions.real, directions.imag]))[0]


def _without(removed: NDArray[np.float64], image: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Q image, (2, H, W): over the mask without the directions that are removed, and nothing elsewhere."""
    seen = image[:, mask].ravel()
    left = np.zeros_like(image)
    left[:, mask] = (seen - removed @ (removed.T @ seen)).reshape(2, -1)
    return left


def _solve(
    model: _Fisher, b: NDArray[np.float64], unknown: NDArray[np.bool_], coverage: NDArray[np.float64]
) -> NDArray[np.float64]:
    """I^-1 b on the unknown pixels, (2, H, W), by preconditioned conjugate gradients (Shewchuk 1994, B3). I is singular
    along the global phase; b has no part along it, so the iteration stays where I is positive."""
    scale = np.where(unknown, 1 / np.where(unknown, 2 * model.s2 * coverage, 1), 0)
    solution, residual = np.zeros_like(b), b
    direction = preconditioned = scale * residual
    size = first = np.sum(residual * preconditioned)
    for _ in range(MAX_ITERATIONS):
        image = unknown * model(direction)
        step = size / np.sum(direction * image)
        solution = solution + step * direction
        residual = residual - step * image
        preconditioned = scale * residual
        before, size = size, np.sum(residual * preconditioned)
        if size <= TOLERANCE**2 * first:
            return solution
        direction = preconditioned + size / before * direction
    left = f"after {MAX_ITERATIONS} conjugate gradients the residual is {np.sqrt(size / first):.2g} of the first"
    raise ArithmeticError(f"the information of this scan is too ill-conditioned: {left}, expected {TOLERANCE:g}")
