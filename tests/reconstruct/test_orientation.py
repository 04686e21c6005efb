"""The orientation of the positions: each of the eight is undone, by what the patterns say alone."""

from dataclasses import replace

import numpy as np
import pytest

from ptycho.config import ORIENTATIONS
from ptycho.physics import photons, probes, samples
from ptycho.reconstruct import alignment, direct
from ptycho.reconstruct.alignment import turn
from ptycho.scans.rawdata import RawData


def simulate(kind, dose=1e5):
    """A scan on whole pixels: there, turning positions back and forth gives the same numbers to the last bit."""
    rng = np.random.default_rng(0)
    P, O = probes.make_probe(kind, 64), samples.make_object("lines", 160, 3, phase=1.0)
    x, y = (np.rint(v) for v in samples.random_positions(300, 160, 64, rng))
    diff3d, s = photons.expose(photons.ideal_amplitude(O, P, x, y), dose, rng)
    return RawData(diff3d, x, y, P, xcoords_start=x + 1, ycoords_start=y, nphotons=dose, intensity_scale=s)


def origin(data):
    return data.xcoords - data.xcoords.min(), data.ycoords - data.ycoords.min()


@pytest.fixture(scope="module")
def fits():
    """A fit of positions that were fitted before is the same, to the bit: it is not made again."""
    known, fit = {}, direct.fit

    def remember(data, loss, **settings):
        key = (data.diff3d.tobytes(), *(v.tobytes() for v in origin(data)), loss, *settings.items())
        if key not in known:
            known[key] = fit(data, loss, **settings)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(direct, "fit", remember)
        yield known


@pytest.fixture(scope="module")
def curved():
    return simulate("zone_plate")


@pytest.mark.parametrize("wrong", ORIENTATIONS)
def test_each_of_the_eight_is_found(wrong, curved, fits):
    told = turn(curved, wrong)
    found, name, losses = alignment.find_orientation(told, seed=1)
    assert len(losses) == 8 and name in losses and len(fits) == 8
    for back, there in zip(origin(found), origin(curved), strict=True):
        assert np.array_equal(back, there)
    (undone,) = [o for o in ORIENTATIONS if np.array_equal(origin(turn(told, o)), origin(curved))]
    assert name == undone
    runner_up = sorted(losses.values())[1]
    assert losses[name] < runner_up - 5 * alignment.ALIKE


def test_an_orientation_that_is_right_leaves_the_scan_alone(curved, fits):
    found, name, _ = alignment.find_orientation(curved, seed=1)
    assert found is curved and name == "as-is"


@pytest.mark.slow
def test_under_a_probe_that_is_its_own_twin_the_plainer_of_two_is_taken():
    """The half turn explains a scan with a real symmetric probe as well: the object is then the conjugate, turned."""
    data = simulate("disk")
    found, name, losses = alignment.find_orientation(data, seed=1)
    assert found is data and name == "as-is"
    assert losses["flip-xy"] == pytest.approx(losses["as-is"], abs=alignment.ALIKE)
    others = [loss for name, loss in losses.items() if name not in ("as-is", "flip-xy")]
    assert min(others) > losses["as-is"] + 5 * alignment.ALIKE


def test_what_an_orientation_does_to_positions(curved):
    turned = turn(curved, "swap-flip-x")
    assert np.array_equal(turned.ycoords, curved.xcoords)
    assert np.array_equal(turned.xcoords, curved.ycoords.min() + curved.ycoords.max() - curved.ycoords)
    assert np.array_equal(turned.ycoords_start, curved.xcoords_start)
    assert np.array_equal(turned.xcoords_start, turned.xcoords)  # they differ in the old x alone
    assert len({turn(curved, o).xcoords.tobytes() + turn(curved, o).ycoords.tobytes() for o in ORIENTATIONS}) == 8
    assert ORIENTATIONS[0] == "as-is"
    framed = replace(curved, objectGuess=np.ones((200, 170), np.complex64))
    assert turn(framed, "as-is") is framed
    assert turn(framed, "swap").objectGuess is None  # whose frame was that of the old positions


@pytest.mark.slow
@pytest.mark.parametrize("late", [-1, 0, 1])
def test_positions_of_another_frame_are_told(late, curved):
    """Positions that are so many frames late: those of so many frames later explain the patterns."""
    x, y = (np.roll(line, late) for line in (curved.xcoords, curved.ycoords))
    delay, losses = alignment.find_delay(replace(curved, xcoords=x, ycoords=y), seed=1)
    assert delay == late and set(losses) == {-1, 0, 1}
    others = [loss for k, loss in losses.items() if k != late]
    assert losses[late] < min(others) - 5 * alignment.OUT_OF_STEP
