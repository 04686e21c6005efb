"""Where `ptycho reconstruct` may write: what cannot be written there is refused before the fit."""

import os
import re

import pytest

from ptycho.__main__ import main
from ptycho.errors import ConfigError, DataError
from ptycho.scans.formats import objects


@pytest.mark.parametrize("suffix", ["npz", "h5", "png"])
def test_a_file_in_a_folder_that_is_not_there_or_closed_is_refused(suffix, tmp_path, monkeypatch):
    objects.writer(tmp_path / f"x.{suffix}")
    path = tmp_path / "results" / f"x.{suffix}"
    with pytest.raises(ConfigError, match=re.escape(f"{path}: there is no folder {path.parent}; expected")):
        objects.writer(path)
    path.mkdir(parents=True)
    with pytest.raises(ConfigError, match=re.escape(f"{path}: this is a folder; expected the name of a file")):
        objects.writer(path)
    monkeypatch.setattr(os, "access", lambda folder, how: folder != path.parent)
    with pytest.raises(ConfigError, match=re.escape(f"the folder {path.parent} cannot be written to; expected")):
        objects.writer(path.with_name(f"y.{suffix}"))


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"x\.txt: \.txt names no format; expected one of \.png, \.npz, \.h5, \.hdf5"):
        objects.writer(tmp_path / "x.txt")


def test_the_scan_is_not_even_read_where_one_of_the_objects_cannot_be_written(tmp_path, capsys):
    targets = [str(tmp_path / "x.npz"), str(tmp_path / "no" / "x.png")]
    assert main(["reconstruct", str(tmp_path / "no-scan.npz"), "-o", *targets]) == 2
    told = f"ptycho: {tmp_path}/no/x.png: there is no folder {tmp_path}/no; expected a folder that exists\n"
    assert capsys.readouterr().err.endswith(told)
