"""One seed a study, one derived seed a role: object, scan, noise and initialisation never share random numbers."""

import zlib

import numpy as np


def derive(seed: int, *roles: str) -> int:
    """A 32-bit seed for ``roles``, e.g. ``derive(1, "noise", "train", "1e4")``: the same words give the same seed."""
    words = [zlib.crc32(role.encode()) for role in roles]
    return int(np.random.SeedSequence([seed, *words]).generate_state(1)[0])
