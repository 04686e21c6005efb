"""The bench: what its modules count and measure, against oracles; and the whole of it in miniature."""

import json
import time
from dataclasses import replace
from math import log2
from pathlib import Path

import nbformat
import numpy as np
import papermill
import pytest
import yaml
from standins import ROOT

from bench import peers, plan, process, quality, samples, tables, targets
from bench import ptychi_engines as peer
from ptycho.files import rows_of
from ptycho.reconstruct.groups import make_groups
from ptycho.run.stage import run

NOTEBOOK = ROOT / "bench" / "bench.ipynb"
NOTEBOOKS = [NOTEBOOK, NOTEBOOK.with_name("peers.ipynb")]


def test_operations_are_counted_as_by_hand():
    tf = pytest.importorskip("tensorflow")
    from bench import flops

    @tf.function
    def work(A, image, kernel, field):
        with tf.GradientTape() as tape:
            tape.watch([image, kernel])
            convolved = tf.nn.conv2d(image, kernel, 1, "SAME")
        return (
            A @ tf.transpose(A, (0, 2, 1)),
            tape.gradient(convolved, [image, kernel]),
            tf.signal.fft2d(tf.signal.fft(field)),
        )

    shapes = ((5, 3, 7), (2, 8, 8, 3), (3, 3, 3, 6), (4, 16, 32))
    kinds = (tf.float32, tf.float32, tf.float32, tf.complex64)
    graph = work.get_concrete_function(*(tf.TensorSpec(*pair) for pair in zip(shapes, kinds, strict=True))).graph
    product, transforms = 2 * 5 * 3 * 3 * 7, 4 * 5 * 16 * 32 * (log2(16 * 32) + log2(32))
    convolution = 2 * (2 * 8 * 8 * 6) * (3 * 3 * 3)
    # the value of the convolution is traced beside its gradients in image and kernel
    assert flops.count(graph) == product + transforms + 3 * convolution
    assert flops.transforms(graph) == 4 + 4 * 16 / (2 * 32)


def test_calls_are_timed_until_the_seconds_are_spent():
    durations = process.timed(lambda: time.sleep(0.01), 0.05, least=2)
    assert 2 <= len(durations) <= 5 and min(durations) >= 0.01 and sum(durations) >= 0.05
    assert len(process.timed(lambda: None, 0.0, least=7)) == 7


@pytest.mark.skipif(not process.STATUS.exists(), reason="needs Linux' account of a process's memory")
def test_the_peak_of_memory_is_seen_though_it_is_given_back():
    before = process.memory("RssAnon")
    with process.peak_memory(0.001) as peak:
        held = np.ones(25_000_000)  # 200 MB
        time.sleep(0.05)
        del held
    assert 150 < peak["RssAnon"] - before < 300


def test_a_measurement_runs_in_a_process_of_its_own():
    rows = [{"a": 1, "b": 2.0}]
    (row,) = process.measure("tables.medians", 1, rows=rows, by=["a"], values=["b"])
    assert row == {"device": "cpu", "cores": 1, **tables.medians(rows, ["a"], ["b"])[0]}
    with pytest.raises(RuntimeError, match=r"(?s)tables\.medians\(.*on 1 cores failed:.*KeyError: 'c'"):
        process.measure("tables.medians", 1, rows=rows, by=["c"], values=["b"])


def test_a_mosaic_is_one_scan_over_and_over(tmp_path, monkeypatch):
    monkeypatch.setattr(samples, "TILE", 30)
    samples.write_mosaic(str(tmp_path / "m.npy"), 64, 100)
    tile, whole = samples.scan(64, 30), samples.mosaic(str(tmp_path / "m.npy"), 64, 100)
    for k in range(100):
        np.testing.assert_array_equal(whole.diff3d[k], tile.diff3d[k % 30])
    moved = np.stack([whole.xcoords, whole.ycoords], 1)[30:60] - np.stack([tile.xcoords, tile.ycoords], 1)
    np.testing.assert_allclose(moved, np.broadcast_to(moved[0], moved.shape), atol=1e-9)
    groups = make_groups(whole, 2)
    assert (groups.indices[:90] // 30 == np.arange(90)[:, None] // 30).all()  # no group reaches into another tile


def test_medians_keep_the_spread():
    rows = [{"method": m, "seconds": s} for m, s in (("a", 3.0), ("b", 1.0), ("a", 1.0), ("a", 2.0))]
    a, b = tables.medians(rows, ["method"], ["seconds"])
    assert a == {"method": "a", "repetitions": 3, "seconds": 2.0, "seconds_least": 1.0, "seconds_most": 3.0}
    assert (b["repetitions"], b["seconds"]) == (1, 1.0)
    (none,) = tables.medians([{"method": "a", "frc50": None}], ["method"], ["frc50"])
    assert none["frc50"] is none["frc50_least"] is none["frc50_most"] is None


def test_every_size_gridsize_and_core_is_measured():
    calls = list(plan.throughput([64, 128], [1, 2, 3], 2, ["cpu", "gpu"], 8, [32], 1.0))
    networks = [c for c in calls if c["task"] == "throughput.networks" and c["architecture"] == "unrolled"]
    on = {(c["device"], c["cores"], c["N"], c["gridsize"]) for c in networks}
    assert on == {(d, 2, N, g) for d in ("cpu", "gpu") for N in (64, 128) for g in (1, 2, 3)} | {
        ("cpu", 1, N, 2) for N in (64, 128)
    }
    assert [c["batch_sizes"] for c in networks if (c["N"], c["gridsize"], c["cores"]) == (64, 2, 2)] == [[8, 32]] * 2


def test_targets_are_told_as_they_are_and_in_proportion_to_the_machine():
    place = {"device": "cpu", "N": 64, "transform_us": 16.0}
    network = {**place, "gridsize": 2, "architecture": "unrolled"}
    rows = [
        {**network, "task": "training", "groups_per_s": 300.0, "patterns_per_s": 1200.0, "transforms_alone_per_s": 4e3},
        {**network, "task": "training", "groups_per_s": 250.0, "patterns_per_s": 1000.0, "transforms_alone_per_s": 4e3},
        {**network, "task": "inference", "groups_per_s": 1e3, "patterns_per_s": 4e3, "transforms_alone_per_s": 9e3},
        {**network, "task": "inference", "groups_per_s": 9e9, "patterns_per_s": 9e9, "transforms_alone_per_s": 1.0}
        | {"architecture": "cnn"},
        {**place, "task": "direct", "gridsize": 1, "architecture": ""}
        | {"groups_per_s": 9e3, "patterns_per_s": 9e3, "transforms_alone_per_s": 6e4},
    ]
    starts = [{"what": "import ptycho", "seconds": 0.3}]
    studies = [{"what": "make study", "jobs": jobs, "seconds": seconds} for jobs, seconds in ((1, 230.0), (2, 100.0))]
    found = {row["what"]: row for row in targets.table(starts, studies, rows)}
    training = found["training, groups/s"]
    assert (training["target"], training["measured"], training["met"]) == (400, 300, "no")
    assert (training["scaled"], training["met_scaled"], training["transforms_alone"]) == (200, "yes", 1000)
    assert found["inference, patterns/s"]["met"] == "yes"
    assert found["direct, patterns/s"]["met_scaled"] == "no"
    assert (found["import ptycho, s"]["met"], found["import ptycho, s"]["met_scaled"]) == ("no", "yes")
    assert (found["make study, s"]["measured"], found["make study, s"]["met"]) == (100, "yes")
    assert len(found) == 5  # the start of a notebook was not measured


def test_pty_chi_is_absent_or_an_error_when_asked_for(monkeypatch, tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'No module named ptychi' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.delenv("PTYCHI_PYTHON", raising=False)
    monkeypatch.setattr(peer.sys, "executable", str(python))
    assert peer.version() is None
    monkeypatch.setenv("PTYCHI_PYTHON", str(python))
    with pytest.raises(RuntimeError, match="No module named ptychi"):
        peer.version()


def test_what_pty_chi_gets_and_gives_is_in_its_frame_and_in_ours(monkeypatch, tmp_path):
    """A stand-in for the fitter answers with the truth, cut out by pty-chi's rule for its positions."""
    data = samples.scan(64, 200, whole=True)
    data.save(tmp_path / "scan.npz")

    def fitter(script, given, taken, words):
        arrays = np.load(given)
        np.testing.assert_array_equal(arrays["diffraction_data"], data.counts())
        shape = arrays["object_data"].shape[1:]
        # position 0 puts index N//2 of the patch on object pixel round(H/2)
        dy, dx = (
            np.rint(size / 2) + arrays[f"probe_position_{axis}_px"][0] - at[0]
            for size, axis, at in zip(shape, "yx", (data.ycoords, data.xcoords), strict=True)
        )
        rows, columns = (np.arange(size) - int(d) for size, d in zip(shape, (dy, dx), strict=True))
        truth = np.pad(data.objectGuess, 100, mode="edge")[np.ix_(rows + 100, columns + 100)]
        np.savez(taken, seconds=[1.0], objects=[truth])
        return ""

    monkeypatch.setattr(peer, "_ptychi", fitter)
    (row,) = quality.ptychi(str(tmp_path / "scan.npz"), "LSQML", [3], 1)
    assert row["method"] == "pty-chi LSQML" and row["frc50"] == 1.0 and row["psnr_db"] > 100


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebooks_are_short_and_their_parameters_are_declared(notebook):
    code = [cell for cell in nbformat.read(notebook, 4).cells if cell.cell_type == "code"]
    assert len(code) <= 10 and all(not cell.outputs and len(cell.source.splitlines()) <= 80 for cell in code)
    given = yaml.safe_load((ROOT / "bench" / "bench.yaml").read_text())
    assert set(given) <= set(papermill.inspect_notebook(str(notebook)))


@pytest.mark.slow  # 20 s, of a benchmark that is run by hand
def test_peers_get_the_same_photons_and_pixels(monkeypatch, tmp_path):
    """A stand-in for pty-chi's fits: it is given the whole and both halves, and answers as the methods here do."""
    scan = samples.scan(64, 200, 1e5)
    guard = np.random.default_rng(0).random((64, 64)) < 0.03
    scan = replace(scan, guard=guard)
    given = []

    def fit(data, engine, epochs, seed):
        given.append((data, engine, list(epochs)))
        return [peers._direct(data, loss="nll", passes=2, seed=seed)]

    monkeypatch.setattr(peer, "fit", fit)
    full, low = peers.thinned(scan, ["full", "1e4"], 1, 3, tmp_path)
    assert full["nphotons"] == pytest.approx(1e5, rel=0.01) and low["nphotons"] == pytest.approx(1e4, rel=0.01)
    share = low["nphotons"] / full["nphotons"]
    (theirs,) = peers.trial(low["path"], share, "pty-chi LSQML Poisson", 2, 5)
    (ours,) = peers.trial(low["path"], share, "direct nll", 2, 5)
    assert {engine for _, engine, _ in given} == {"LSQML Poisson"} and all(passes == [2] for *_, passes in given)
    whole, one, other = (data for data, *_ in given)
    np.testing.assert_array_equal(one.counts() + other.counts(), whole.counts())
    assert all(np.array_equal(data.fitted, ~guard) for data, *_ in given)
    assert theirs["split_frc50"] == ours["split_frc50"] and theirs["reference_frc50"] == ours["reference_frc50"]
    (alone,) = peers.trial(full["path"], 1.0, "direct nll", 2, 5)
    assert alone["reference_frc50"] is None and alone["split_frc50"] > 0


def test_trap_a_module_beside_the_fitter_hides_a_package_it_imports():
    """A script's own folder is the first that its imports are looked for in."""
    assert not {"json", "numpy", "ptychi", "torch"} & {path.stem for path in peer.FITTER.parent.iterdir()}


def test_masked_pixels_reach_pty_chi(monkeypatch, tmp_path):
    scan = samples.scan(64, 50)
    mask = np.ones((64, 64), bool)
    mask[30:34, :5] = False
    told = {}

    def fitter(script, given, taken, words):
        with np.load(given) as arrays:
            told.update(arrays, **json.loads(words))
        np.savez(taken, seconds=[1.0, 2.0], objects=[told["object_data"][0]] * 2)
        return ""

    monkeypatch.setattr(peer, "_ptychi", fitter)
    fits = peer.fit(replace(scan, mask=mask), "LSQML Poisson", [1, 2], 7)
    assert [seconds for seconds, _ in fits] == [1.0, 2.0] and (fits[0][1].object == 1).all()
    np.testing.assert_array_equal(told["valid_pixel_mask"], mask)
    assert (told["engine"], told["noise_model"], told["budgets"], told["seed"]) == ("LSQML", "POISSON", [1, 2], 7)


MINIATURE = {
    "out": ".",
    "sizes": [64],
    "gridsizes": [2],
    "batch": 4,
    "more_batches": [],
    "seconds": 0.05,
    "profile_calls": 2,
    "positions": 200,
    "repetitions": 1,
    "budgets": {"unrolled": [1], "direct": [3]},
    "scans": [400],
    "starts": 1,
    "jobs": [],
}


@pytest.mark.slow
def test_the_bench_in_miniature(tmp_path):
    (tmp_path / "bench.yaml").write_text(yaml.safe_dump(MINIATURE))
    assert run(NOTEBOOK, tmp_path / "bench.ipynb", tmp_path / "bench.yaml", tmp_path / "run.log") == 0
    rows = {path.stem: rows_of(path) for path in tmp_path.glob("*.csv")}
    assert set(rows) == {"overhead", "profile", "throughput", "quality_trials", "quality", "scaling", "targets"}
    assert {row["task"] for row in rows["throughput"]} == {"training", "inference", "direct"}
    assert all(float(row["patterns_per_s"]) > 0 and 0 < float(row["share_of_peak"]) < 1 for row in rows["throughput"])
    assert sum(float(row["share"]) for row in rows["profile"]) == pytest.approx(3)
    assert {row["method"] for row in rows["quality"]} == {"unrolled", "direct"}
    assert max(float(row["frc50"]) for row in rows["quality"]) > 0.5
    assert {row["stage"] for row in rows["scaling"]} == {"open and group", "train", "infer"}
    record = json.loads((tmp_path / "provenance.json").read_text())
    assert record["cpu"] and record["packages"]["tensorflow"] and Path(tmp_path, "quality.png").is_file()
