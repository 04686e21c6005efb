"""A dose-response whose answer is known: the entries of its arms."""

import numpy as np
from standins import entry as arm_entry

DOSES = (1e2, 1e3, 1e4, 1e5, 1e6)
SEEDS = (1, 2, 3, 4, 5)
METHODS = [("unrolled", "train"), ("unrolled", "heldout"), ("direct", "train")]


def resolved(dose, needed=1.0):
    """A quarter of Nyquist for every decade above ten times what is needed, up to one."""
    return float(np.clip((np.log10(dose / needed) - 1) / 4, 0, 1))


def entry(dose, loss, seed, frc50, **changes):
    made = arm_entry(f"{dose:.0e}_{loss}_{seed}", nphotons=dose, loss=loss, seed=seed, **changes)
    for part in ("train", "heldout", "direct"):
        made[part]["amplitude_frc50"] = frc50
    return made


def study(spread=0.01, needs=5.0, seed=0):
    """nll, and mae that needs `needs` times its photons, with deviations that the two share."""
    rng = np.random.default_rng(seed)
    shared = {s: rng.normal(0, spread) for s in SEEDS}
    return [
        entry(dose, loss, s, float(np.clip(resolved(dose, needed) + shared[s] + rng.normal(0, spread / 4), 0, 1)))
        for dose in DOSES
        for loss, needed in (("mae", needs), ("nll", 1.0))
        for s in SEEDS
    ]
