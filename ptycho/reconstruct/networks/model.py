"""The networks as Keras models: built for one probe and one detector, saved to one file, and loaded from it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile, is_zipfile

import keras
import numpy as np

from ptycho.config import DENOISER, ModelConfig
from ptycho.errors import expect
from ptycho.files import replacing
from ptycho.physics import probes
from ptycho.reconstruct.networks import layers
from ptycho.reconstruct.networks.cnn import EncoderDecoder
from ptycho.reconstruct.networks.denoiser import Denoiser
from ptycho.reconstruct.networks.unrolled import Unrolled

_UNREADABLE = (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, AssertionError, BadZipFile)
"""What Keras raises for a file that is damaged, of another kind, or asks for code to be run."""


def build(
    config: ModelConfig, probe: np.ndarray | None = None, mask: np.ndarray | None = None
) -> tuple[keras.Model, keras.Model]:
    """(autoencoder, diffraction_to_obj) of ``config`` for one probe and one detector; they share every weight.

    ``probe`` is (N, N), or (L, N, N) for L incoherent modes, complex64; the default disk when None. ``mask``, (N, N)
    bool, is True where the detector is to be believed, everywhere when None. Amplitudes elsewhere change neither the
    object nor the loss. Raises ValueError for a probe or a mask of another shape.

    The autoencoder takes amplitudes (B, N, N, C) and positions (B, 1, 2, C), float32. It gives the object (B, N, N, 1)
    complex64 and the predicted amplitude and intensity, (B, N, N, C) float32. ``diffraction_to_obj`` takes the same and
    gives the object alone.
    """
    N, C = config.N, config.channels
    probe = probes.disk(N) if probe is None else probe
    fits = probe.shape[-2:] == (N, N)
    expect(fits, f"probe has shape {probe.shape}; N={N} asks for ({N}, {N}) or (modes, {N}, {N})")
    P = probes.cropped_modes(probe)
    m = layers.canvas_size(P.shape[-1], config.max_offset)
    amplitude = keras.Input((N, N, C), dtype="float32", name="diffraction")
    positions = keras.Input((1, 2, C), dtype="float32", name="coords_relative")
    probe_layer = layers.Probe(len(P), P.shape[-1], trainable_probe=config.probe_trainable, name="probe")
    probe_layer.assign(P)
    modes = probe_layer(positions)
    if config.architecture == "unrolled":
        network = Unrolled(m, config.blocks, config.steps, config.filters, name="reconstruction")
    else:
        border = P.shape[-1] > N // 2
        network = EncoderDecoder(m, N, C, border, config.filters_scale, name="reconstruction")
    believed, *valid = (amplitude,)
    if mask is not None:
        expect(mask.shape == (N, N), f"mask has shape {mask.shape}; N={N} asks for ({N}, {N})")
        mask_layer = layers.Mask(N, name="mask")
        mask_layer.assign(mask)
        believed, *valid = mask_layer(amplitude)
    O = layers.Last(name="last")(network(believed, positions, modes, *valid))
    intensity = layers.Diffraction(N, name="intensity")(O, positions, modes)
    outputs = [layers.Frame(N, name="object")(O), layers.Amplitude(name="amplitude")(intensity), intensity]
    autoencoder = keras.Model([amplitude, positions], outputs, name="autoencoder")
    return autoencoder, objects_of(autoencoder)


def size_of(network: keras.Model) -> int:
    """N, the side of the patterns that a network was trained on."""
    return int(network.get_layer(DENOISER).N if network.name == DENOISER else network.inputs[0].shape[1])


def probe_of(autoencoder: keras.Model, N: int) -> np.ndarray:
    """The probe as the network has it, trained where it was trainable: (N, N), or (L, N, N) complex64 for L modes."""
    pair = autoencoder.get_layer("probe").pair.numpy()
    P = (pair[..., 0] + 1j * pair[..., 1]).astype(np.complex64)
    before = N // 2 - P.shape[-1] // 2
    after = N - P.shape[-1] - before
    P = np.pad(P, [(0, 0), (before, after), (before, after)])
    return P[0] if len(P) == 1 else P


def save(autoencoder: keras.Model, path: str | Path) -> None:
    """Write the autoencoder, probe included, to one ``.keras`` file, whole or not at all.

    Raises ValueError if ``path`` cannot be written; a file that was there is left as it was.
    """
    try:
        with replacing(path) as partial:
            autoencoder.save(partial)
    except OSError as error:
        raise ValueError(f"{path}: cannot be written ({error.strerror or error}); expected a writable path") from error


def load(path: str | Path) -> tuple[keras.Model, keras.Model]:
    """(autoencoder, diffraction_to_obj) of a ``.keras`` file; nothing in the file is run as code.

    Raises ValueError if the file is missing or damaged, or holds no model of this package.
    """
    autoencoder = load_any(path)
    with _naming(path):
        return autoencoder, objects_of(autoencoder)


def load_any(path: str | Path) -> keras.Model:
    """The network of a ``.keras`` file, of any of ARCHITECTURES. Raises as :func:`load`."""
    expect(Path(path).is_file(), f"{path}: there is no such file; expected a .keras file of this package")
    expect(is_zipfile(path), f"{path}: damaged, truncated or no .keras file; expected one of this package")
    with _naming(path):
        return keras.saving.load_model(path, {"Denoiser": Denoiser}, compile=False, safe_mode=True)


@contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    """Name the file in what is raised within."""
    try:
        yield
    except _UNREADABLE as error:
        reason = str(error).strip('"').partition(". ")[0]
        raise ValueError(f"{path}: damaged, or no model of this package ({reason}); expected a whole one") from error


def objects_of(autoencoder: keras.Model) -> keras.Model:
    """``diffraction_to_obj`` of an autoencoder: the same network up to the object."""
    return keras.Model(autoencoder.inputs, autoencoder.get_layer("object").output, name="diffraction_to_obj")
