"""Three published claims about overlap, the number of patterns and other probes, put to our network.

    python -m bench.overlap reports/overlap [SEEDS]

The claims are those of arXiv:2602.21361. Every network is ``unrolled``, trained with the Poisson likelihood, and judged
on a held-out scan of another object. The fit without a network (``direct``) to that scan stands beside it.

grouping  Gridsize 1 or 2, behind a flat disk or the curved probe of a zone plate, on lines that only absorb. The
          held-out scan is as dense as the training scan. Gridsize 1 sees each pattern alone, without overlap.
patterns  512 to 8192 training patterns behind the curved probe. They are the first of one random scan, so they cover
          one area ever more densely. All networks are trained for as many epochs and judged on one held-out scan. We
          take the paper to mean this: its budgets are patterns of one half of one scan. Its object is a star.
probe     The networks of ``grouping`` on a scan behind the other probe. They are told that probe, or still told the one
          that they were trained behind, with the power of the other.

``overlap.csv`` holds every reconstruction, ``summary.csv`` means with intervals over seeds, ``verdict.txt`` what was
published beside what was found. Two cases are worked on side by side, each on one core; a second call goes on where an
earlier one ended.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.claims import COUNTED, DOSE, ENOUGH, GRIDSIZES, PATTERNS_ENOUGH, PROBES, summary, verdict
from bench.process import Row, side_by_side
from bench.tables import known, rounded
from ptycho import seeds
from ptycho.physics.probes import make_probe
from ptycho.scans.rawdata import RawData

if TYPE_CHECKING:
    import keras

    from ptycho.judge.metrics import Evaluation
    from ptycho.reconstruct.arm import OfGroups

DOSES = (DOSE, "1e4")
PHASES = {"lines": 0.0, "siemens": 1.0}
"""The objects, and the range of their phase in radians."""
PATTERNS = (512, 1024, 2048, 4096, 8192)
N, POSITIONS, EPOCHS, LOSS = 64, 2000, 5, "nll"
WORDS = ("question", "object", "contrast", "probe", "trained", "told", "dose", "method")
WHOLE = ("gridsize", "patterns", "seed")


class Case(NamedTuple):
    """One training; or, where gridsize and patterns are None, one fit without a network."""

    question: str
    object: str
    probe: str
    dose: str
    gridsize: int | None
    patterns: int | None
    seed: int


def cases(last: int) -> Iterator[Case]:
    for seed in range(1, last + 1):
        for probe in PROBES:
            for dose in DOSES:
                yield Case("grouping", "lines", probe, dose, None, None, seed)
                yield from (Case("grouping", "lines", probe, dose, side, POSITIONS, seed) for side in GRIDSIZES)
        for kind in dict(COUNTED):
            yield Case("patterns", kind, PROBES[1], DOSE, None, None, seed)
        for M in reversed(PATTERNS):  # the long ones first: the cores end together
            yield from (Case("patterns", kind, PROBES[1], DOSE, side, M, seed) for kind, side in COUNTED)


def scan(case: Case, split: str, probe: str) -> RawData:
    """The training or the held-out scan of a case, behind a probe."""
    from ptycho.scans.simulated import simulate

    M = max(PATTERNS) if case.question == "patterns" else POSITIONS
    n_train, n_test = (M, 1) if split == "train" else (1, POSITIONS)
    phase, made = PHASES[case.object], {"object_kind": case.object, "illumination": probe}
    data = simulate(N, n_train, n_test, case.seed, phase, **made)[split].expose(case.dose)
    return data.subset(slice(case.patterns)) if split == "train" else data


def rows_of(case: Case) -> list[Row]:
    """The row of a case; of one of ``grouping`` with the highest dose also the rows of the question ``probe``."""
    from ptycho.judge.parts import judge
    from ptycho.reconstruct import direct, stitching

    heldout = scan(case, "heldout", case.probe)
    network, seconds = (None, None) if case.gridsize is None else train(case, heldout)

    def row(question: str, behind: str, told: str) -> Row:
        data = heldout if behind == case.probe else scan(case, "heldout", behind)
        data = replace(data, probeGuess=told_as(told, behind))
        if network is None:
            found = direct.fit(data, LOSS, seed=seeds.derive(case.seed, "direct")).reconstruction
        else:
            groups = replace(network.grouped["heldout"], data=data)
            found = stitching.reconstruct(moved(network, data.probeGuess), {"": groups})[""]
        made: Row = {"question": question, "object": case.object, "probe": behind}
        made |= {"trained": case.probe if network else "", "told": told, "dose": case.dose}
        made |= {"gridsize": case.gridsize, "patterns": case.patterns, "method": "network" if network else "direct"}
        return rounded({**made, "seed": case.seed, **numbers(judge(found, data)), "seconds": seconds})

    rows = [row(case.question, case.probe, case.probe)]
    if case.question == "grouping" and case.dose == DOSE:
        other = next(probe for probe in PROBES if probe != case.probe)
        # a fit is told the other probe in a case of its own
        rows += [row("probe", other, told) for told in PROBES if network or told != other]
    return rows


def train(case: Case, heldout: RawData) -> tuple[OfGroups, float]:
    """The trained network of a case, whose canvas holds the groups of the held-out scan, too; and its seconds."""
    from ptycho.reconstruct.arm import OfGroups
    from ptycho.study.config import StudyConfig

    rate = StudyConfig(phase=PHASES[case.object]).learning_rates(LOSS)["unrolled"]
    scans, how = {"train": scan(case, "train", case.probe), "heldout": heldout}, {"gridsize": case.gridsize}
    network = OfGroups("unrolled", scans, LOSS, case.seed, **how, nepochs=EPOCHS, learning_rate=rate)
    with tempfile.TemporaryDirectory() as folder:
        history = network.train(Path(folder), lambda progress: None)
    return network, sum(epoch["seconds"] for epoch in history)


def told_as(told: str, behind: str) -> NDArray[np.complex64]:
    """The probe ``told``, with the power of the one that the scan is behind: every pattern shows that."""
    P, true = make_probe(told, N), make_probe(behind, N)
    return P if told == behind else (P * np.linalg.norm(true) / np.linalg.norm(P)).astype(np.complex64)


def moved(network: OfGroups, probe: NDArray[np.complex64]) -> keras.Model:
    """``diffraction_to_obj`` of a network that was trained behind another probe. No weight depends on the probe."""
    from ptycho.reconstruct.networks import model

    made, objects = model.build(network.config.model, probe)
    weights = network.autoencoder.get_layer("reconstruction").get_weights()
    made.get_layer("reconstruction").set_weights(weights)
    return objects


def numbers(judged: Evaluation) -> Row:
    """What is told of a reconstruction, of its phase where the object mostly shifts that.

    ssim: at the range of the truth, whose lowest phase is counted as 0. ssim_published: as PtychoPINN counts it, which
    takes phases from -pi to pi for 0 to 1, whatever range the truth has. Of an amplitude the two are the same.
    """
    from ptycho.judge.metrics import ssim

    of = judged.contrast
    if of == "phase":
        mask, phase, true = judged.aligned.mask, judged.phase, judged.truth_phase
        low, high = float(true[mask].min()), float(true[mask].max())
        own, published = (
            ssim(phase - zero, true - zero, mask, data_range=data_range)
            for zero, data_range in ((low, high - low), (-np.pi, 2 * np.pi))
        )
    else:
        own = published = judged.amplitude_ssim
    made: Row = {"contrast": of, "ssim": own, "ssim_published": published, "frc50": getattr(judged, f"{of}_frc50")}
    return made | {"relative_mse": judged.relative_mse, "deviance": judged.deviance}


def main(out: str, last: str = "3") -> None:
    """Work on what an earlier run has not; write the tables and the verdict after each case, the figure at the end."""
    from bench import figures
    from ptycho.figures import output
    from ptycho.files import write_text
    from ptycho.study.provenance import provenance

    folder = Path(out)
    rows = known(folder / "overlap.csv", WORDS, WHOLE)
    done = {Case(*(row[name] for name in Case._fields)) for row in rows}
    asked = [case for case in cases(int(last)) if case not in done]
    for found in side_by_side(rows_of, asked, each=4):
        rows += found
        output.save_rows(folder / "overlap.csv", rows)
        output.save_rows(folder / "summary.csv", summary(rows))
        write_text(folder / "verdict.txt", verdict(rows))
        print(*(" ".join(map(str, row.values())) for row in found), sep="\n", flush=True)
    output.save_png(figures.overlap(summary(rows), ENOUGH, PATTERNS_ENOUGH), folder / "overlap.png")
    if asked:
        provenance(folder, {"seeds": int(last), "N": N, "positions": POSITIONS, "nepochs": EPOCHS, "loss": LOSS})


if __name__ == "__main__":
    main(*sys.argv[1:])
