"""The published claims on overlap, patterns and probes: planted numbers come out as sentences, and networks move."""

from types import SimpleNamespace

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from bench import claims, figures, overlap, tables
from ptycho.physics.probes import make_probe

NUMBERS = {"contrast": "amplitude", "ssim": 0.9, "ssim_published": 0.9, "frc50": 0.8, "relative_mse": 1e-3}


def planted(case: overlap.Case, **numbers) -> list[dict]:
    """The rows that a case would leave."""
    trained, method = (case.probe, "network") if case.gridsize else ("", "direct")
    row = {**case._asdict(), "trained": trained, "told": case.probe, "method": method, **NUMBERS, "deviance": 1.0}
    rows = [{**row, "seconds": None, **numbers}]
    if case.question == "grouping" and case.dose == claims.DOSE and case.gridsize:
        other = next(probe for probe in claims.PROBES if probe != case.probe)
        rows += [{**rows[0], "question": "probe", "probe": other, "told": told} for told in claims.PROBES]
    return rows


def all_rows(numbers, last: int = 3) -> list[dict]:
    return [row for case in overlap.cases(last) for row in planted(case, **numbers(case))]


def test_every_cell_has_a_network_of_each_gridsize_and_a_fit_beside_it():
    found = list(overlap.cases(3))
    assert len(found) == len(set(found)) == 3 * (2 * 2 * 3 + 2 + 3 * 5)
    cells = {(c.probe, c.dose, c.gridsize) for c in found if c.question == "grouping"}
    assert cells == {(p, d, g) for p in ("disk", "zone_plate") for d in ("1e9", "1e4") for g in (None, 1, 2)}
    counts = {c.patterns for c in found if c.question == "patterns" and (c.object, c.gridsize) == ("siemens", 1)}
    assert counts == {512, 1024, 2048, 4096, 8192}


def test_planted_numbers_come_out_beside_the_published_ones():
    def numbers(case):
        ssim = {1: 0.5, 2: 0.7, None: 0.9}[case.gridsize] + 0.01 * case.seed
        enough = 0.9 if (case.patterns or 0) >= 2048 and case.gridsize == 2 else 0.6
        return {"ssim": ssim, "ssim_published": enough if case.question == "patterns" else ssim}

    words = claims.verdict(all_rows(numbers))
    assert "disk, 1e9 photons per pattern, gridsize 1: SSIM 0.520 [0.495, 0.545], published 0.620." in words
    assert "zone_plate, 1e9 photons per pattern, gridsize 2: SSIM 0.720 [0.695, 0.745], published 0.968." in words
    assert "disk, 1e4 photons per pattern, direct: SSIM 0.920 [0.895, 0.945].\n" in words
    gain = "gridsize 2 adds 0.200 [0.200, 0.200] to the SSIM of gridsize 1"
    assert f"disk, 1e9 photons per pattern: {gain}, published 0.332." in words
    assert f"zone_plate, 1e4 photons per pattern: {gain}.\n" in words
    tried = "with 512 to 8192 patterns tried"
    assert f"siemens, gridsize 1: the mean SSIM, counted as published, is not above 0.85, {tried}; published" in words
    assert f"siemens, gridsize 2: the mean SSIM, counted as published, is above 0.85 from 2048, {tried}.\n" in words


def test_the_error_behind_another_probe_is_told_against_a_network_trained_behind_it():
    def numbers(case):
        return {"relative_mse": {"disk": 4e-3, "zone_plate": 1e-3}[case.probe] * case.seed}

    words = claims.verdict(all_rows(numbers))
    told = "a network trained behind the other probe and told disk has 0.25 [0.25, 0.25] times the error"
    assert f"Scan behind disk, gridsize 1: {told} of one trained behind disk." in words
    told = "a network trained behind the other probe and told disk has 4 [4, 4] times the error"
    assert f"Scan behind zone_plate, gridsize 2: {told} of one trained behind zone_plate." in words


def test_where_one_seed_collapses_the_median_and_the_range_are_told():
    def numbers(case):
        return {"ssim": (0.02, 0.7, 0.8)[case.seed - 1], "frc50": None if case.seed == 1 else 0.5}

    cell = claims.summary(all_rows(numbers))[0]
    assert (cell["collapsed"], cell["level"]) == (1, 0.75)
    assert (cell["ssim"], cell["ssim_low"], cell["ssim_high"], cell["frc50_low"]) == (0.7, 0.02, 0.8, 0)
    whole = claims.summary(all_rows(lambda case: {"ssim": 0.99 + 0.009 * (case.seed - 2)}))[0]
    assert whole["level"] == 0.95 and whole["ssim_high"] == 1  # an interval ends where SSIM does


def test_a_second_call_works_on_what_the_first_has_not(monkeypatch, tmp_path):
    asked: list[list[overlap.Case]] = []

    def left(case):
        return planted(case, seconds=1.5 if case.gridsize else None)

    def stand_in(task, cases, each):
        asked.append(list(cases))
        yield from map(left, asked[-1])

    few = [case for case in overlap.cases(2) if (case.probe, case.dose) == ("disk", "1e9") and case.gridsize != 2]
    monkeypatch.setattr(overlap, "cases", lambda last: [case for case in few if case.seed <= last])
    monkeypatch.setattr(overlap, "side_by_side", stand_in)
    for last in ("1", "2", "2"):
        overlap.main(str(tmp_path), last)
    assert asked == [few[:2], few[2:], []]
    rows = tables.known(tmp_path / "overlap.csv", overlap.WORDS, overlap.WHOLE)
    assert rows == [row for case in few for row in left(case)]
    files = {"overlap.csv", "summary.csv", "verdict.txt", "overlap.png", "provenance.json"}
    assert {path.name for path in tmp_path.iterdir()} == files


def test_the_figure_shows_the_published_numbers_and_every_question():
    figure = figures.overlap(claims.summary(all_rows(lambda case: {})), claims.ENOUGH, claims.PATTERNS_ENOUGH)
    first, _, counted, moved = figure.axes
    lines = {line.get_label(): list(line.get_ydata()) for line in first.lines}
    assert lines["gridsize 1, published"] == [0.620, 0.904] and lines["gridsize 2, published"] == [0.952, 0.968]
    assert {"siemens, gridsize 1", "siemens, gridsize 2", "lines, gridsize 2"} <= labels(counted)
    assert len(labels(moved)) == 3


def labels(axes) -> set[str]:
    return set(axes.get_legend_handles_labels()[1])


def test_a_phase_is_counted_at_its_own_range_and_as_published():
    """PtychoPINN takes 2 pi for the range of a phase: ``ptycho.evaluation.eval_reconstruction`` maps it to [0, 1]."""
    rng = np.random.default_rng(0)
    truth = np.kron(rng.random((8, 8)) > 0.5, np.ones((8, 8))).astype(float)
    phase, mask = truth + 0.3 * rng.standard_normal(truth.shape), np.ones(truth.shape, bool)
    of = {"phase": phase, "truth_phase": truth, "aligned": SimpleNamespace(mask=mask)}
    of |= {"phase_frc50": 0.4, "amplitude_ssim": 0.1, "relative_mse": 0.2, "deviance": 1.0}
    judged = SimpleNamespace(contrast="phase", **of)
    told = overlap.numbers(judged)
    mapped = [(image + np.pi) / (2 * np.pi) for image in (truth, phase)]
    assert told["ssim_published"] == pytest.approx(structural_similarity(*mapped, data_range=1.0))
    assert told["ssim"] == pytest.approx(structural_similarity(truth, phase, data_range=1.0))
    assert told["ssim"] < told["ssim_published"] - 0.05 and told["frc50"] == 0.4
    judged.contrast, judged.amplitude_frc50 = "amplitude", 0.6
    told = overlap.numbers(judged)
    assert (told["ssim"], told["ssim_published"], told["frc50"]) == (0.1, 0.1, 0.6)


def test_a_probe_is_told_with_the_power_of_the_one_that_was_there():
    told, true = overlap.told_as("disk", "zone_plate"), make_probe("zone_plate", overlap.N)
    assert np.linalg.norm(told) == pytest.approx(np.linalg.norm(true))
    np.testing.assert_allclose(told / told.real.max(), make_probe("disk", overlap.N), atol=1e-6)


def test_patterns_are_the_first_of_one_scan_and_the_held_out_scan_is_one(monkeypatch):
    monkeypatch.setattr(overlap, "PATTERNS", (8, 16))
    monkeypatch.setattr(overlap, "POSITIONS", 4)
    few, all_of_them = (overlap.Case("patterns", "lines", "disk", "1e9", 1, M, 1) for M in (8, 16))
    one, whole = (overlap.scan(case, "train", "disk") for case in (few, all_of_them))
    assert (len(one), len(whole)) == (8, 16)
    np.testing.assert_array_equal(one.diff3d, whole.diff3d[:8])
    heldout, behind = overlap.scan(few, "heldout", "disk"), overlap.scan(few, "heldout", "zone_plate")
    np.testing.assert_array_equal(heldout.xcoords, behind.xcoords)
    np.testing.assert_array_equal(heldout.objectGuess, behind.objectGuess)
    assert not np.array_equal(heldout.objectGuess, whole.objectGuess)


def test_a_network_that_moves_keeps_its_weights_and_sees_the_probe_it_is_told(monkeypatch):
    from ptycho.reconstruct.arm import OfGroups

    monkeypatch.setattr(overlap, "POSITIONS", 12)
    case = overlap.Case("grouping", "lines", "disk", "1e9", 1, 12, 1)
    scans = {split: overlap.scan(case, split, "disk") for split in ("train", "heldout")}
    how = {"gridsize": 1, "nepochs": 1, "learning_rate": 0.01}
    network = OfGroups("unrolled", scans, "nll", 1, **how)
    layer = network.autoencoder.get_layer("reconstruction")
    layer.set_weights([np.float32(0.5) * w for w in layer.get_weights()])
    other = OfGroups("unrolled", {s: overlap.scan(case, s, "zone_plate") for s in scans}, "nll", 2, **how)
    other.autoencoder.get_layer("reconstruction").set_weights(layer.get_weights())
    batch = other.grouped["heldout"].batch(np.arange(4))
    found = overlap.moved(network, make_probe("zone_plate", overlap.N))(batch).numpy()
    np.testing.assert_array_equal(found, other.diffraction_to_obj(batch).numpy())
    assert not np.allclose(found, network.diffraction_to_obj(batch).numpy(), atol=1e-3)


@pytest.mark.slow  # a minute: networks are trained
def test_the_questions_in_miniature(monkeypatch):
    monkeypatch.setattr(overlap, "POSITIONS", 150)
    monkeypatch.setattr(overlap, "EPOCHS", 1)
    of = (None, None), (2, 150)
    fit, network = (overlap.rows_of(overlap.Case("grouping", "lines", "disk", "1e9", *one, 1)) for one in of)
    assert [(row["question"], row["told"]) for row in fit] == [("grouping", "disk"), ("probe", "disk")]
    own, wrong, right = network
    assert (own["question"], wrong["told"], right["told"]) == ("grouping", "disk", "zone_plate")
    assert fit[0]["ssim"] > 0.95 and own["ssim"] > 0.5 and right["ssim"] > 0.5
    assert wrong["frc50"] is None and wrong["deviance"] > 100 * right["deviance"]
