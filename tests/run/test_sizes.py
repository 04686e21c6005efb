"""Measured scans of detectors of many sizes end VERIFIED, in real studies."""

import shutil

import numpy as np
import pytest
from test_makefile import make

from ptycho.judge.trust import trust
from ptycho.physics.beam import PLANCK_LIGHT
from ptycho.reconstruct.reference import make_reference
from ptycho.scans import formats, simulated
from ptycho.scans.formats.scan import Scan

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
PIXEL, PITCH, WAVELENGTH = 2e-8, 75e-6, 1e-10
"""Metres."""


def measured(path, H, W, M=100, dose="1e6"):
    """Write a CXI file of the H x W pixels in the middle of a simulated square detector, and a probe of that size."""
    N = max(H, W)
    scan = simulated.simulate(N, M, 4, seed=1, object_size=2 * N)["train"].expose(dose)
    part = tuple(slice(N // 2 - n // 2, N // 2 - n // 2 + n) for n in (H, W))
    wave = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(scan.probeGuess), norm="ortho"))[part]
    probe = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(wave), norm="ortho")).astype(np.complex64)
    found = Scan(
        scan.counts()[(slice(None), *part)].astype(np.uint32),
        x=scan.xcoords * PIXEL,
        y=scan.ycoords * PIXEL,
        probe=probe,
        energy=PLANCK_LIGHT / WAVELENGTH,
        distance=N * PITCH * PIXEL / WAVELENGTH,
        detector_pixel=PITCH,
    )
    formats.by_name(path).write(path, found)


@pytest.mark.slow
def test_the_reference_of_a_detector_that_is_not_square_is_trusted(tmp_path):
    measured(tmp_path / "scan.cxi", 64, 96)
    found = make_reference("scan.cxi", tmp_path, 1, orientation="as-is")
    assert found.scan.N == 96 and found.scan.mask.sum() == 64 * 96
    assert [str(fault) for fault in found.faults] == [
        "size: 64 x 96 pixels, padded with masked pixels to 96 x 96, which keeps all counts"
    ]
    told = trust(found, 1)
    assert told.doubts == [] and told.finest > 0.5


SIZES = [(48, 48), (64, 96), (96, 96), (100, 100), (192, 192), (256, 512), (1024, 1024)]


@pytest.mark.slow
@pytest.mark.parametrize(("H", "W"), SIZES)
def test_a_scan_of_this_size_is_verified(H, W, tmp_path):
    # as many photons a pixel as the others have; one network, for a pass over a pattern takes a hundred times as long
    large = {"M": 64, "dose": "1e8"} if W == 1024 else {}
    measured(tmp_path / "scan.cxi", H, W, **large)
    words = [f"SCAN={tmp_path / 'scan.cxi'}", f"OUT={tmp_path / 'out'}", "NEPOCHS=1"]
    words += ["ARCH=unrolled", "DOSES=full", "LOSSES=nll"] if large else []
    done = make("study", *words, seconds=7200)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    status = (tmp_path / "out" / "status.txt").read_text()
    assert status.startswith("VERIFIED"), status
    assert (f"{H} x {W} pixels" in status) == ((H, W) in [(64, 96), (100, 100), (256, 512)])
