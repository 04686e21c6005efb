"""What flaws of detector and set-up cost, in photons, to the fit without a network and to a network.

    python -m bench.flaws reports/flaws

Every flaw (:mod:`ptycho.physics.flaws`) at the doses of FLAWED, and flawless scans of both probes at a ladder of doses,
each for several seeds and losses. ``direct`` fits them, and ``unrolled`` is trained on them as in a study. ``arms.csv``
holds every arm, ``flaws.csv`` what each flaw costs (:mod:`ptycho.findings.flaws`). As many scans as there are cores are
worked on side by side; the tables are whole after each seed of each flaw.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from bench.process import side_by_side
from ptycho import seeds
from ptycho.config import DIRECT, FLAWS, LEARNING_RATES
from ptycho.files import json_if_any, write_json, write_text

if TYPE_CHECKING:
    from ptycho.scans.rawdata import RawData

NETWORK = "unrolled"
LADDERS = {DIRECT: ("1e2", "1e3", "1e4", "1e5", "1e6", "1e7", "1e9"), NETWORK: ("1e2", "1e3", "1e4", "1e5")}
"""By method, the doses of the flawless scans."""
FLAWED = {DIRECT: ("1e4", "1e9"), NETWORK: ("1e4",)}
"""By method, those of the flawed ones. What a network resolves at 1e9, its structure sets and not the photons."""
LOSSES, SEEDS = ("nll", "mae"), (1, 2, 3)
N, POSITIONS, EPOCHS, GRIDSIZE = 64, 2000, 5, 2
PROBES = {"defocus": "zone_plate"}
"""The probe of a flaw that needs one of its own; every other has the disk."""
FLAWLESS = {"disk": "none", "zone_plate": "none, zone_plate"}
"""By probe, what its flawless scans are called."""
Case = tuple[str, str, str, int]
"""Its method, what it is called, its probe, its seed."""


def cases() -> Iterator[Case]:
    """Of one probe after the other, so that all seeds of the first are there early."""
    for method, (probe, flawless), seed in product(LADDERS, FLAWLESS.items(), SEEDS):
        names = (flaw for flaw in FLAWS if flaw != "none" and PROBES.get(flaw, "disk") == probe)
        yield from ((method, name, probe, seed) for name in (flawless, *names))


def arms_of(case: Case) -> list[dict[str, Any]]:
    """The entries of the arms of one case: every dose and loss on one scan, as a study has them."""
    from ptycho.scans import simulated

    method, name, probe, seed = case
    flaw, doses = ("none", LADDERS[method]) if name in FLAWLESS.values() else (name, FLAWED[method])
    arm, held_out, made = (fitted, 1, []) if method == DIRECT else (trained, POSITIONS, [])
    ideal = simulated.simulate(N, POSITIONS, held_out, seed, illumination=probe, flaw=flaw)
    for dose in doses:
        scans = {split: scan.expose(dose) for split, scan in ideal.items()}
        made += [arm(f"{name}/{dose}_{loss}/seed-{seed}", scans, loss, seed) for loss in LOSSES]
    return made


def fitted(name: str, scans: Mapping[str, RawData], loss: str, seed: int) -> dict[str, Any]:
    """The arm of the fit without a network."""
    from ptycho.judge.parts import judge
    from ptycho.reconstruct import direct
    from ptycho.study.arms import arm_entry

    data = scans["train"]
    found = direct.fit(data, loss, seed=seeds.derive(seed, "direct")).reconstruction
    return arm_entry(name, data, loss, seed, None, [], 0, {"direct": judge(found, data)})


def trained(name: str, scans: Mapping[str, RawData], loss: str, seed: int) -> dict[str, Any]:
    """The arm of a network, which is trained on the one scan and reconstructs both."""
    from ptycho.judge.parts import judge_parts
    from ptycho.reconstruct.arm import of_arm
    from ptycho.study.arms import arm_entry

    how = {"nepochs": EPOCHS, "learning_rate": LEARNING_RATES[NETWORK][loss], "gridsize": GRIDSIZE}
    network = of_arm(NETWORK, scans, loss, seed, **how)
    with TemporaryDirectory() as folder:
        history = network.train(Path(folder), lambda progress: None)
    judged = judge_parts(network.reconstruct(), scans)
    return arm_entry(name, scans["train"], loss, seed, NETWORK, history, network.patterns, judged)


def tell(arms: Sequence[dict[str, Any]], folder: Path) -> None:
    """Write the tables and the figures of what is known so far."""
    from ptycho.figures import output, sweeps
    from ptycho.findings import flaws
    from ptycho.findings.response.arm_table import arm_rows
    from ptycho.findings.response.dose_response import dose_response_of

    output.save_rows(folder / "arms.csv", arm_rows(arms))
    by_name: dict[str, list[dict[str, Any]]] = {}
    for arm in arms:
        by_name.setdefault(arm["name"].partition("/")[0], []).append(arm)
    studies = {name: dose_response_of(own) for name, own in by_name.items()}
    costs = [
        cost
        for flaw in FLAWS
        if flaw in studies and (flawless := FLAWLESS[PROBES.get(flaw, "disk")]) in studies and flaw != "none"
        for cost in flaws.costs_of(flaw, studies[flaw], studies[flawless])
    ]
    if costs:
        output.save_rows(folder / "flaws.csv", flaws.cost_rows(costs))
        output.save_png(sweeps.flaw_costs(costs, flaws.ERROR), folder / "flaws.png")
        write_text(folder / "verdict.txt", "\n".join(flaws.costs_in_words(costs)) + "\n")


def main(out: str) -> None:
    """Make the arms that an earlier run has not, and tell what all came to."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    arms = json_if_any(folder / "arms.json").get("arms", [])
    done = {(arm["architecture"] or DIRECT, arm["name"].partition("/")[0], arm["seed"]) for arm in arms}
    asked = [case for case in cases() if (case[0], case[1], case[3]) not in done]
    for found in side_by_side(arms_of, asked, each=8):
        arms += found
        write_json(folder / "arms.json", {"arms": arms})
        tell(arms, folder)
        for arm in found:
            part = arm["direct"] or arm["train"]
            told = (part[name] for name in ("amplitude_frc50", "relative_mse", "deviance"))
            print(arm["name"], arm["architecture"] or DIRECT, *told, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
