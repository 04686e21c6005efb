"""The bench of flaws: every flaw is measured by the fit and by the network, and its arms are those of a study."""

import numpy as np
import pytest

from bench import flaws
from ptycho.config import DIRECT, FLAWS
from ptycho.files import rows_of
from ptycho.study.arms import check_arm


def test_every_flaw_and_a_flawless_ladder_of_each_probe_is_measured_by_both_methods():
    found = list(flaws.cases())
    assert len(found) == len(set(found)) == 2 * 3 * (len(FLAWS) - 1 + 2)
    for method in (DIRECT, flaws.NETWORK):
        names = {name for of, name, _, _ in found if of == method}
        assert names == {*FLAWS} - {"none"} | {*flaws.FLAWLESS.values()}
        assert set(flaws.FLAWED[method]) < set(flaws.LADDERS[method])
    assert {probe for _, name, probe, _ in found if name == "defocus"} == {"zone_plate"}


@pytest.mark.slow
@pytest.mark.parametrize("method", [DIRECT, flaws.NETWORK])
def test_the_arms_of_a_case_tell_what_a_flaw_costs(method, monkeypatch, tmp_path):
    small = {"POSITIONS": 100, "EPOCHS": 1, "LOSSES": ("nll",), "FLAWED": {method: ("1e4",)}}
    for name, value in (small | {"LADDERS": {method: ("1e3", "1e4")}}).items():
        monkeypatch.setattr(flaws, name, value)
    arms = [arm for name in ("none", "jitter") for arm in flaws.arms_of((method, name, "disk", 1))]
    for arm in arms:
        check_arm(arm, arm["name"])
    assert [arm["name"] for arm in arms[2:]] == ["jitter/1e4_nll/seed-1"]
    assert {arm["architecture"] for arm in arms} == {None if method == DIRECT else method}
    flaws.tell(arms, tmp_path)
    assert len(rows_of(tmp_path / "arms.csv")) == len(arms) * (1 if method == DIRECT else 2)
    costs = [row for row in rows_of(tmp_path / "flaws.csv") if row["yardstick"] == "relative error"]
    assert [(row["flaw"], row["method"], row["loss"]) for row in costs] == [("jitter", method, "nll")]
    assert all(row["at_least"] or np.isfinite(float(row["factor"])) for row in costs)
