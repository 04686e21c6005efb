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

On the simulated scan of 2000 positions the bound is 3.7 times that of counting photons. A factor 3 of that comes from
bilinear sampling, which averages neighbours. ``direct.fit`` reaches the bound within 3 % at 1e6 and 1e9 photons per
pattern, in 100 passes on the likelihood at a learning rate of 0.02.
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy import stats

from ptycho.judge.gauge import evaluation_region
from ptycho.judge.metrics import photon_bound
from ptycho.physics import optics
from ptycho.physics.probes import cropped_modes

UNKNOWN_FRACTION = 0.02  # of the coverage where a photon lands on average: less counts as known, unless it is judged
PRECISION = 0.01  # relative standard error of the trace at which no further random vector is drawn
SAMPLES = (4, 64)  # fewest and most random vectors: four give 0.1 % on a scan of 40 000 pixels
TOLERANCE = 3e-3  # preconditioned residual where conjugate gradients stop: the error of the trace goes with its square
MAX_ITERATIONS = 300
_BATCH_PIXELS = 2**19  # detector pixels at a time: 4 MiB complex64


@dataclass(frozen=True, eq=False)
class InformationBound:
    """The least expected relative mean-square error sum |dO|^2 / sum |O|^2 of an object over the evaluated area.

    at_one_photon: the bound at one photon per pattern; it falls as 1/dose, exactly. standard_error: of at_one_photon,
    from the random vectors of the trace. counting: ``metrics.photon_bound``, which knows neither probe nor scan, at one
    photon per pattern. mask: (H, W) bool, the evaluated pixels. unknown: (H, W) bool, the estimated pixels, among
    them the evaluated ones.
    """

    at_one_photon: float
    standard_error: float
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
    seed: int = 0,
) -> InformationBound:
    """The bound on the error that :mod:`ptycho.judge.metrics` judges: tr(Q C Q) / sum |O|^2 over the evaluated pixels.

    :func:`ptycho.judge.gauge.evaluation_region` finds the evaluated pixels in the coverage. Q projects out of them what
    is removed before judging, to first order: the phase ramp and the complex scale. The scale includes the global
    phase, so any generalised inverse C of I gives the same. Pixels outside, down to ``UNKNOWN_FRACTION``, are estimated
    too. Fainter ones count as known, which can only lower the bound.

    The trace is Hutchinson's estimate (Commun. Stat. Simul. 18 (1989) 1059): the mean of z^T Q C Q z over random signs
    z, drawn from `seed`. Conjugate gradients, preconditioned with the coverage, solve for C Q z. Stopped early, they
    too err below.

    object: (H, W) complex. probe: (N, N) or (L, N, N) complex. x, y: (M,) float, positions in pixels of the object.
    Raises ValueError for wrong shapes, a position outside the object, or too little covered to be judged;
    ArithmeticError where the conjugate gradients do not converge: the scan does not determine some evaluated pixels.
    """
    model = _Fisher(object, probe, x, y)
    coverage = model.coverage()
    rows, columns, box_mask = evaluation_region(coverage)
    mask = np.zeros(coverage.shape, bool)
    mask[rows, columns] = box_mask
    unknown = mask | (coverage >= UNKNOWN_FRACTION * np.sum(coverage**2) / np.sum(coverage))

    power = float(np.sum(np.abs(object[mask]) ** 2))
    removed = _removed(object, mask)
    rng = np.random.default_rng(seed)
    traces: list[float] = []
    while len(traces) < SAMPLES[0] or (len(traces) < SAMPLES[1] and stats.sem(traces) > PRECISION * np.mean(traces)):
        z = rng.choice([-1.0, 1.0], (2, int(mask.sum()))).ravel()
        z -= removed @ (removed.T @ z)
        b = np.zeros((2, *mask.shape))
        b[:, mask] = z.reshape(2, -1)
        traces.append(float(np.sum(b * _solve(model, b, unknown, coverage)) / power))
    share = coverage[mask].sum() / coverage.sum()
    counting = photon_bound(int(mask.sum()), len(x) * share)
    return InformationBound(float(np.mean(traces)), float(stats.sem(traces)), counting, mask, unknown)


class _Fisher:
    """The information I of a scan at one photon per pattern, as a product with images (2, H, W) float64, (re, im)."""

    def __init__(self, object: NDArray, probe: NDArray, x: NDArray, y: NDArray):
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        if object.ndim != 2 or x.ndim != 1 or x.shape != y.shape or not len(x):
            found = f"object {object.shape}, x {x.shape} and y {y.shape}"
            raise ValueError(f"found {found}; expected (H, W) and two equal (M,), M >= 1")
        H, W = object.shape
        inside = (x >= 0) & (y >= 0) & (x <= W - 1) & (y <= H - 1)  # False for NaN too
        if not inside.all():
            k = int(np.argmin(inside))
            raise ValueError(f"position {k} (x = {x[k]:.6g}, y = {y[k]:.6g}) is outside the object of shape {(H, W)}")
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
        energy = 0.0
        for place in self.places:
            Psi = self._field(padded, *place)
            intensity = optics.measure(Psi)
            energy += float(tf.reduce_sum(intensity))
            self.u.append(optics.scale(1.0 / optics.amplitude(intensity)[:, tf.newaxis], Psi))
        self.s2 = len(x) / energy  # s^2 at one photon per pattern
        self.padded_shape = tuple(padded.shape)

    def _field(self, O: tf.Tensor, first: tf.Tensor, fraction: tf.Tensor) -> tf.Tensor:
        return optics.far_field(optics.illuminate(optics.bilinear_patches(O, first, fraction, self.n), self.P), self.N)

    @tf.function(jit_compile=True, autograph=False)
    def _product(self, v: tf.Tensor, u: tf.Tensor, first: tf.Tensor, fraction: tf.Tensor) -> tf.Tensor:
        """(1/2) grad_v sum_kj (dA_kj[v] / s)^2, which is sum_kj dA_kj dA_kj^T v / s^2."""
        with tf.GradientTape() as tape:
            tape.watch(v)
            change = self._field(tf.complex(v[0], v[1]), first, fraction)
            dA = tf.reduce_sum(tf.math.real(u) * tf.math.real(change) + tf.math.imag(u) * tf.math.imag(change), axis=-3)
            form = tf.reduce_sum(tf.square(dA)) / 2
        return tape.gradient(form, v)

    def __call__(self, v: NDArray[np.float64]) -> NDArray[np.float64]:
        m = self.margin
        padded = tf.constant(np.pad(v, ((0, 0), (m, m), (m, m))), tf.float32)
        batches = zip(self.u, self.places, strict=True)
        product = sum(self._product(padded, u, *place).numpy().astype(np.float64) for u, place in batches)
        return 4 * self.s2 * product[:, m:-m, m:-m]

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


def _removed(object: NDArray[np.complexfloating], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Orthonormal directions that are not judged, (2 pixels, 4): modulus and phase of the scale, and the two ramps."""
    O = object[mask].astype(np.complex128)
    y, x = (axis - axis.mean() for axis in np.nonzero(mask))
    directions = np.stack([O, 1j * O, 1j * y * O, 1j * x * O], axis=1)
    return np.linalg.qr(np.concatenate([directions.real, directions.imag]))[0]


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
    raise ArithmeticError(
        f"the information of this scan is too ill-conditioned: after {MAX_ITERATIONS} conjugate gradients the residual "
        f"is {np.sqrt(size / first):.2g} of the first, expected {TOLERANCE:g}"
    )
