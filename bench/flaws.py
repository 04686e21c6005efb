"""What flaws of detector and set-up cost, in photons, to the fit without a network.

    python -m bench.flaws reports/flaws

Every flaw (:mod:`ptycho.physics.flaws`) at two doses, and flawless scans of both probes at a ladder of doses, each for
several seeds and losses, fitted by ``direct``. ``arms.csv`` holds every fit, ``flaws.csv`` what each flaw costs
(:mod:`ptycho.findings.flaws`). Two scans are worked on side by side, each on one core; the tables are whole after each
seed of each flaw.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.process import side_by_side
from ptycho import seeds
from ptycho.config import FLAWS
from ptycho.files import json_if_any, write_json, write_text

LADDER = ("1e2", "1e3", "1e4", "1e5", "1e6", "1e7", "1e9")
DOSES, LOSSES, SEEDS = ("1e4", "1e9"), ("nll", "mae"), (1, 2, 3)
N, POSITIONS = 64, 2000
PROBES = {"defocus": "zone_plate"}
"""The probe of a flaw that needs one of its own; every other has the disk."""
FLAWLESS = {"disk": "none", "zone_plate": "none, zone_plate"}
"""By probe, what its flawless scans are called."""
Case = tuple[str, str, int]
"""What it is called, its probe, its seed."""


def cases() -> Iterator[Case]:
    for seed in SEEDS:
        yield from ((name, probe, seed) for probe, name in FLAWLESS.items())
        yield from ((flaw, PROBES.get(flaw, "disk"), seed) for flaw in FLAWS if flaw != "none")


def fits(of: Case) -> list[dict[str, Any]]:
    """The entries of the arms of one case: every dose and loss on one scan, as a study has them."""
    from ptycho.judge.parts import judge
    from ptycho.reconstruct import direct
    from ptycho.scans import simulated
    from ptycho.study.arms import arm_entry

    name, probe, seed = of
    flaw, doses = ("none", LADDER) if name in FLAWLESS.values() else (name, DOSES)
    scan = simulated.simulate(N, POSITIONS, 1, seed, illumination=probe, flaw=flaw)["train"]
    made = []
    for dose in doses:
        data = scan.expose(dose)
        for loss in LOSSES:
            found = direct.fit(data, loss, seed=seeds.derive(seed, "direct")).reconstruction
            judged = {"direct": judge(found, data)}
            made.append(arm_entry(f"{name}/{dose}_{loss}/seed-{seed}", data, loss, seed, None, [], 0, judged))
    return made


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
    """Fit what an earlier run has not, and tell what all came to."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    arms = json_if_any(folder / "arms.json").get("arms", [])
    done = {tuple(arm["name"].split("/")[::2]) for arm in arms}
    asked = [case for case in cases() if (case[0], f"seed-{case[2]}") not in done]
    for found in side_by_side(fits, asked, each=8):
        arms += found
        write_json(folder / "arms.json", {"arms": arms})
        tell(arms, folder)
        for arm in found:
            told = (arm["direct"][name] for name in ("amplitude_frc50", "relative_mse", "deviance"))
            print(arm["name"], *told, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
