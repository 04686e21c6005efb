"""The house: few doors, no crowded room, and a room of tests for each room of the package."""

from standins import ROOT

MOST = 11
"""Files in a folder."""


def modules(folder):
    return [path for path in folder.glob("*.py") if path.name != "__init__.py"]


def rooms(root):
    return [folder for folder in (root, *root.rglob("*")) if folder.is_dir() and modules(folder)]


def test_few_modules_lie_at_the_door():
    assert len(modules(ROOT / "ptycho")) <= 8


def test_no_room_is_crowded():
    for root in (ROOT / "ptycho", ROOT / "tests"):
        crowded = {folder.name: len(modules(folder)) for folder in rooms(root) if len(modules(folder)) > MOST}
        assert not crowded


def test_every_wing_has_a_room_of_tests():
    wings = {folder.name for folder in (ROOT / "ptycho").iterdir() if folder.is_dir() and modules(folder)}
    assert wings <= {folder.name for folder in rooms(ROOT / "tests")}
