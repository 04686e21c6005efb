"""Searches and comparisons that are made of several sweeps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ptycho.config import DIRECT
from ptycho.errors import ConfigError
from ptycho.files import write_if_changed
from ptycho.study.config import StudyConfig


def plan(out: str | os.PathLike[str], rates: Sequence[str], config: StudyConfig) -> None:
    """Write `out`/rates.yaml, what the report of the learning rates is made with. Raises ConfigError.

    config: of the studies; its one method is the one whose rates are tried, a network or `direct`.
    """
    import yaml

    try:
        values = [float(rate) for rate in rates]
    except ValueError:
        values = []
    if not values or len(set(values)) < len(values):
        raise ConfigError(f"RATES={' '.join(rates)!r} is not accepted: distinct numbers > 0")
    if len(config.methods) != 1:
        accepted = f"one, {config.architecture} or {DIRECT}"
        raise ConfigError(f"METHODS={' '.join(config.methods)!r} is not accepted: {accepted}")
    for value in values:
        replace(config, learning_rate=value)
    (method,) = config.methods
    used = {loss: config.learning_rates(loss)[method] for loss in config.losses}
    path = Path(out) / "rates.yaml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_if_changed(path, yaml.safe_dump({"out": ".", "rates": list(rates), "used": used}, sort_keys=False))
    except OSError as error:
        raise ConfigError(f"OUT={str(out)!r} cannot be written ({error.strerror}); expected a folder") from error
