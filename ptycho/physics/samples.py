"""What is imaged, and where the probe goes: complex transmission functions of order one, and positions on them.

Positions (x, y) are in object pixels, float64 (n,), with patches inside the object. All is made from a seed.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from ptycho.config import OBJECTS
from ptycho.errors import expect
from ptycho.physics.beam import electron_wavelength, relativistic_mass

Positions = tuple[NDArray[np.float64], NDArray[np.float64]]

# The published lines object has 400 lines on the canvas of a 392-pixel object. Both the length of a line and the canvas
# grow with the size, so a number proportional to the size keeps the length of line per area, hence the look, constant.
LINES_PER_PIXEL = 400 / 392


def make_object(kind: str, size: int, seed: int, phase: float = 0.0) -> NDArray[np.complex64]:
    """Return the object `kind` (one of OBJECTS) as complex64 (size, size), amplitude within [0.5, 1.5].

    `phase` is the peak-to-peak phase in radians, centred on zero; 0 gives a real object. For `lines` and `grf` the
    phase is an independent realisation derived from the same seed, for `siemens` it follows the same spokes (a spoke
    both absorbs and retards, as metal does). The same arguments give the same object, bit for bit.
    Raises ValueError for an unknown kind, a size below 16, a negative seed, or a phase that is negative or not finite.
    """
    expect(kind in OBJECTS, f"object kind is {kind!r}; expected one of {', '.join(OBJECTS)}")
    expect(size >= 16, f"object size is {size} pixels; expected 16 or more")
    expect(seed >= 0, f"object seed is {seed}; expected a non-negative integer")
    expect(0 <= phase < np.inf, f"object phase is {phase} radians peak to peak; expected a finite number >= 0")
    for_amplitude, for_phase = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    if kind == "siemens":
        angle = for_amplitude.uniform(0, 2 * np.pi)
        row, column = (size - 1) / 2 + for_amplitude.uniform(-0.05 * size, 0.05 * size, 2)
        amplitude = retardation = siemens_star(size, angle=angle, centre=(row, column))
    else:
        pattern = {"lines": lines, "grf": gaussian_random_field}[kind]
        amplitude = pattern(size, for_amplitude)
        retardation = pattern(size, for_phase) if phase else np.zeros_like(amplitude)
    return ((0.5 + amplitude) * np.exp(1j * phase * (retardation - 0.5 * bool(phase)))).astype(np.complex64)


def lines(size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return random straight lines, blurred at three scales, as float64 (size, size) in [0, 1].

    The lines object of PtychoPINN (Hoidn, Mishra & Mehta, Sci. Rep. 13, 22789, 2023): end points uniform on a canvas
    of twice the size, Gaussian blurs of 1, 5 and 10 pixels added with weights 1, 2 and 5, the centre cut out.
    Uniform end points make every such object denser in its middle: two independent ones correlate with r = 0.15.
    """
    from skimage import draw  # late: `inspect` reads what a scan is and draws no line

    canvas = np.zeros((2 * size, 2 * size))
    for r0, c0, r1, c1 in rng.integers(0, 2 * size, (round(LINES_PER_PIXEL * size), 4)):
        canvas[draw.line(r0, c0, r1, c1)] = 1
    image = sum(weight * ndimage.gaussian_filter(canvas, sigma) for weight, sigma in ((1, 1), (2, 5), (5, 10)))
    start = size // 2
    return _unit(image[start : start + size, start : start + size])


def gaussian_random_field(size: int, rng: np.random.Generator, exponent: float = 3.0) -> NDArray[np.float64]:
    """Return a periodic Gaussian random field as float64 (size, size) in [0, 1].

    Its power spectrum falls as |q|**-exponent with the spatial frequency q; the mean (q = 0) is removed before the
    field is mapped linearly to its range. 3 looks like clouds; larger is smoother.
    """
    q = np.hypot(fft.fftfreq(size)[:, None], fft.rfftfreq(size))
    q[0, 0] = np.inf
    spectrum = fft.rfft2(rng.standard_normal((size, size))) * q ** (-exponent / 2)
    return _unit(fft.irfft2(spectrum, s=(size, size)))


def siemens_star(
    size: int,
    spokes: int = 36,
    inner_radius: float | None = None,
    angle: float = 0.0,
    centre: tuple[float, float] | None = None,
) -> NDArray[np.float64]:
    """Return an antialiased Siemens star as float64 (size, size): 0 on the `spokes` spokes, 1 between and inside them.

    The spokes run from `inner_radius` pixels to the edge of the frame; at radius r their period is 2*pi*r/spokes. The
    default inner radius, spokes/pi (11.5 pixels for 36 spokes), is where that period is 2 pixels, the Nyquist limit.
    `angle` (radians) turns the star, `centre` is its (row, column), the frame's middle by default. Edges are one pixel
    wide: grey is the signed distance to the nearest edge, clipped to half a pixel either side.
    """
    inner = spokes / np.pi if inner_radius is None else inner_radius
    row, column = ((size - 1) / 2, (size - 1) / 2) if centre is None else centre
    y, x = np.arange(size)[:, None] - row, np.arange(size) - column
    r = np.hypot(y, x)
    # a triangle wave of the angle, zero on every edge and with slope one: times r, the arc length to the nearest edge
    to_edge = r * np.arcsin(np.sin(spokes * (np.arctan2(y, x) - angle))) / spokes
    into_spoke = np.minimum(to_edge, r - inner)
    return 1 - np.clip(into_spoke + 0.5, 0, 1)


BOND = 1.42
"""Between neighbouring atoms of graphene, angstrom (Castro Neto et al., Rev. Mod. Phys. 81 (2009) 109)."""
CONTAMINATION = 0.3
"""Atoms per square angstrom of the amorphous carbon on graphene: 0.3 nm of it at 2 g/cm^3."""
CARBON = (0.0893, 0.2563, 0.7570, 1.0487, 0.3575), (0.2465, 1.7100, 6.4094, 18.6113, 50.2523)
"""a, angstrom, and b, angstrom^2, of the electron scattering factor f(s) = sum a exp(-b s^2) of a carbon atom, s half a
spatial frequency (Peng, Ren, Dudarev & Whelan, Acta Cryst. A 52 (1996) 257)."""


def graphene(size: int, pixel: float, voltage: float, seed: int) -> NDArray[np.complex64]:
    """Return a sheet of graphene under amorphous carbon, as electrons see it: complex64 (size, size), exp(i phase).

    Graphene is never clean. Its lattice, turned and shifted at random, fills the frame; atoms of the contamination lie
    at random. With every atom at r_j the phase, in radians, is the projected potential times the interaction constant
    (Kirkland, Advanced Computing in Electron Microscopy, 2nd ed., 2010, chapter 5), which is in spatial frequency q::

        gamma lambda sum_j f(|q| / 2) exp(-2 pi i q r_j)

    `pixel` in metres, `voltage` in volts. Raises ValueError for a pixel or voltage that is not a finite number > 0.
    """
    for name, value in (("pixel", pixel), ("voltage", voltage)):
        expect(0 < value < np.inf, f"{name} of graphene is {value}; expected a finite number > 0")
    side, rng = pixel * 1e10, np.random.default_rng(seed)  # angstrom, as the tables are
    width = size * side
    atoms = np.concatenate([_honeycomb(width, rng), rng.uniform(0, width, (rng.poisson(CONTAMINATION * width**2), 2))])
    q = fft.fftfreq(size, side)
    rows, columns = (np.exp(-2j * np.pi * np.outer(q, line)) for line in atoms.T)
    s2 = (q[:, None] ** 2 + q**2) / 4
    f = sum(a * np.exp(-b * s2) for a, b in zip(*CARBON, strict=True))
    strength = relativistic_mass(voltage) * electron_wavelength(voltage) * 1e10
    phase = fft.ifft2(strength * f * (rows @ columns.T)).real / side**2
    return np.exp(1j * phase).astype(np.complex64)


def _honeycomb(width: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """The places (n, 2) of graphene's atoms in a square of `width` angstrom, turned and shifted at random."""
    turn = np.exp(1j * rng.uniform(0, 2 * np.pi))  # places as complex numbers
    first, second = (np.sqrt(3) * BOND * np.exp(1j * angle) for angle in (0, np.pi / 3))
    reach = np.arange(-int(width / BOND) - 2, int(width / BOND) + 3)
    cells = (reach[:, None] * first + reach * second).ravel()
    places = turn * np.concatenate([cells, cells + (first + second) / 3])
    places += (1 + 1j) * width / 2 + rng.uniform(0, BOND) + 1j * rng.uniform(0, BOND)
    inside = (np.abs(places.real / width - 0.5) < 0.5) & (np.abs(places.imag / width - 0.5) < 0.5)
    return np.stack([places.real, places.imag], axis=1)[inside]


def _unit(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map an image linearly to [0, 1]."""
    return (image - image.min()) / np.ptp(image)


def random_positions(n: int, size: int, N: int, rng: np.random.Generator) -> Positions:
    """Return `n` positions drawn uniformly from the square where patches fit: [N/2, size - N/2 - 1] on both axes.

    Raises ValueError for n below 1, or an object of `size` pixels too small for a patch of N.
    """
    expect(n >= 1, f"number of positions is {n}; expected 1 or more")
    expect(size > N, f"object size is {size} pixels; expected at least N + 1 = {N + 1} for a patch to fit")
    x, y = rng.uniform(N / 2, size - N / 2 - 1, (2, n))
    return x, y


def raster(n: int, step: float, N: int, margin: float = 2.0) -> tuple[Positions, int]:
    """Return the first `n` positions, row by row, of a square raster of `step` pixels, and the side of an object that
    holds their patches of N pixels. The first patch starts `margin` pixels inside.

    Raises ValueError for n below 1, or a step that is not a finite number > 0.
    """
    expect(n >= 1, f"number of positions is {n}; expected 1 or more")
    expect(0 < step < np.inf, f"step of the raster is {step} pixels; expected a finite number > 0")
    side = int(np.ceil(np.sqrt(n)))
    y, x = step * np.indices((side, side)).reshape(2, -1)[:, :n]
    return to_frame(x, y, N, margin), int(np.ceil(step * (side - 1) + N + 2 * margin))


def to_frame(x: NDArray[np.floating], y: NDArray[np.floating], N: int, margin: float = 2.0) -> Positions:
    """Shift measured positions so that the first patch of N pixels starts `margin` pixels inside an object frame."""
    return x - x.min() + margin + N // 2, y - y.min() + margin + N // 2
