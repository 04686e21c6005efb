"""The published curve beside ours: what photons allow, what a missing window feigns, and the words."""

from dataclasses import replace

import numpy as np
import pytest
import yaml
from scipy import ndimage

from ptycho.figures import sweeps
from ptycho.findings import published
from ptycho.findings.intervals import Interval
from ptycho.findings.published import Row
from ptycho.judge.frc import FRCCurve, first_crossing
from ptycho.judge.metrics import evaluate
from ptycho.physics import samples
from ptycho.scans.reconstruction import Reconstruction
from ptycho.study import sweep


def judged(change):
    """A lines object that fills its frame, and what `change` makes of it."""
    truth = samples.make_object("lines", 200, 1)
    found = change(truth, np.random.default_rng(2)).astype(np.complex64)
    return evaluate(Reconstruction(found, np.ones(truth.shape, np.float32), np.zeros(2)), truth, photons=1e9)


def test_cut_edges_correlate_where_nothing_is_resolved():
    one = judged(lambda truth, rng: ndimage.gaussian_filter(truth.real, 3) + 0.002 * rng.normal(size=truth.shape))
    feigned = published.without_window(one).correlation
    assert feigned[-10:].mean() > 0.9 and abs(one.amplitude_frc.correlation[-10:].mean()) < 0.1


@pytest.mark.parametrize(
    ("correlation", "expected"), [([1, 0.4, 0.9, 0.9], 0.5), ([1, 0.5, 0.9, 0.4], 1), ([0.4] * 4, 0.25), ([1] * 4, 1)]
)
def test_a_single_ring_decides_what_is_published(correlation, expected):
    curve = FRCCurve(np.arange(1, 5) / 4, np.array(correlation, float), np.full(4, 10))
    assert first_crossing(curve) == expected


def test_the_setting_is_held_against_what_was_simulated(tmp_path):
    with pytest.raises(ValueError, match="there is no sweep in it"):
        sweep.simulated(tmp_path)
    plan = {"doses": ["1e4"], "losses": ["nll"], "seeds": [3], "methods": ["unrolled"], "nepochs": 1}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(plan))
    with pytest.raises(ValueError, match=r"seed-3.simulate\.yaml: cannot be read"):
        sweep.simulated(tmp_path)
    (tmp_path / "seed-3").mkdir()
    made = {**published.SETTING, "object_size": 256}
    (tmp_path / "seed-3" / "simulate.yaml").write_text(yaml.safe_dump(made))
    assert published.differs(sweep.simulated(tmp_path), published.SETTING) == ["object_size is 256, not 392"]
    assert published.differs(published.SETTING, published.SETTING) == []
    with pytest.raises(ValueError, match=r"low_nll.arm\.yaml: cannot be read; expected the parameters of an arm"):
        sweep.trained(tmp_path)
    (tmp_path / "seed-3" / "low_nll").mkdir()
    told = {**published.TRAINING, "architecture": "unrolled", "nepochs": 5}
    (tmp_path / "seed-3" / "low_nll" / "arm.yaml").write_text(yaml.safe_dump(told))
    assert published.differs(sweep.trained(tmp_path), published.TRAINING) == [
        "architecture is unrolled, not cnn",
        "nepochs is 5, not 60",
    ]


def interval(mean):
    return Interval(3, mean, mean - 0.01, mean + 0.01)


ROWS = [
    Row("nll", 1e3, 45 / 166, interval(0.3), interval(0.35), 0.4, interval(0.9)),
    Row("nll", 1e5, 165 / 166, interval(0.6), interval(0.65), 0.7, interval(0.95)),
    Row("nll", 1e9, 165 / 166, interval(0.9), interval(0.95), 1.0, interval(0.95)),
    Row("mae", 1e3, None, interval(0.2), None, 0.4, None),
]


def test_the_words_say_where_the_published_figure_is_exceeded_or_cannot_be_one_of_resolution():
    assert published.published_in_words(ROWS) == [
        "nll at 1e+03: published 0.271 of Nyquist, here 0.300 [0.290, 0.310], more "
        "(counted as published, 0.900 [0.890, 0.910], more).",
        "nll at 1e+05: published 0.994 of Nyquist, here 0.600 [0.590, 0.610]; the photons allow 0.70: the published "
        "figure is not one of resolution (counted as published, 0.950 [0.940, 0.960], less).",
        "nll at 1e+09: published 0.994 of Nyquist, here 0.900 [0.890, 0.910], less "
        "(counted as published, 0.950 [0.940, 0.960], less).",
    ]
    (reached,) = published.published_in_words([replace(ROWS[0], published=0.33, limit=0.31)])
    assert "less; direct 0.350 [0.340, 0.360], more (" in reached  # no limit stands against what a fit reaches
    alike = replace(ROWS[0], published=0.35, direct=Interval(3, 0.35, 0.35, 0.35))
    assert "less; direct 0.350 [0.350, 0.350], as much (" in published.published_in_words([alike])[0]
    (near,) = published.published_in_words([replace(ROWS[1], published=0.74)])
    assert "0.610], less (" in near  # nor one that is as near as the band by which FRC50 is decided
    (within,) = published.published_in_words([replace(ROWS[0], published=0.295)])
    assert "0.310], not told apart (counted" in within
    (saturated,) = published.published_in_words(
        [replace(ROWS[0], as_published=Interval(3, 45 / 166, 45 / 166, 45 / 166))]
    )
    assert saturated.endswith("(counted as published, 0.271 [0.271, 0.271], as much).")
    (single,) = published.published_in_words([replace(ROWS[0], network=Interval(1, 0.3, None, None))])
    assert "here 0.300, more (" in single
    assert published.published_table(ROWS).splitlines()[1].split() == [
        *("nll", "1e+03", "0.271", "0.400", "0.300", "[0.290,", "0.310]", "0.350", "[0.340,", "0.360]"),
        *("0.900", "[0.890,", "0.910]"),
    ]


def test_the_figure_shows_both_curves():
    nll, mae = sweeps.published_comparison(ROWS).axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in nll.lines}
    assert lines["published"] == [[1e3, 45 / 166], [1e5, 165 / 166], [1e9, 165 / 166]]
    assert lines["photon limit"] == [[1e3, 0.4], [1e5, 0.7], [1e9, 1.0]]
    assert "published" not in {line.get_label() for line in mae.lines}
    flat = published.published_rows(ROWS)[0]
    assert flat == {
        **{"loss": "nll", "nphotons": 1e3, "published": 45 / 166, "limit": 0.4},
        **{"network_mean": 0.3, "network_low": 0.29, "network_high": 0.31},
        **{"direct_mean": 0.35, "direct_low": pytest.approx(0.34), "direct_high": pytest.approx(0.36)},
        **{"as_published_mean": 0.9, "as_published_low": 0.89, "as_published_high": 0.91},
    }
