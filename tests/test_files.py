"""Files that are there whole or not at all."""

import os
import stat

import pytest

from ptycho import files


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("name", ["model.keras", "4f-2.weights.h5", "figure.png", "run", ".hidden"])
def test_what_is_written_beside_takes_the_place(tmp_path, name):
    path = tmp_path / name
    for content in (b"first", b"second"):
        with files.replacing(path) as partial:
            assert partial.parent == tmp_path and partial.name.startswith(".") and partial.name.endswith(name)
            partial.write_bytes(content)
            assert not path.exists() or path.read_bytes() == b"first"  # until the end, what was there
        assert path.read_bytes() == content
        assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", [None, b"old"])
def test_an_exception_leaves_what_was_there_and_nothing_beside_it(tmp_path, error, old):
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    before = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    with pytest.raises(error), files.replacing(path) as partial:
        partial.write_bytes(b"half")
        raise error
    assert {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == before
    assert old is None or path.read_bytes() == old


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_fills_up_at_the_end_leaves_what_was_there(tmp_path, monkeypatch, call):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"), files.replacing(path) as partial:
        partial.write_bytes(b"new")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]


def test_an_error_names_the_file_that_was_meant_and_not_the_hidden_one(tmp_path):
    for path in (tmp_path / "nowhere" / "file", tmp_path):  # no folder to write to; a folder is no file to replace
        with pytest.raises(OSError) as caught:
            files.write_text(path, "text")
        assert caught.value.filename == str(path)


def test_nothing_written_is_an_error_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(FileNotFoundError), files.replacing(path):
        pass
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("folder", ["none", "file", "locked"])
def test_a_folder_that_takes_no_file_is_an_os_error(tmp_path, folder):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked").chmod(0o500)
    if folder == "locked" and os.access(tmp_path / "locked", os.W_OK):
        pytest.skip("this user may write everywhere")
    with pytest.raises(OSError), files.replacing(tmp_path / folder / "new") as partial:
        partial.write_bytes(b"new")
    assert sorted(os.listdir(tmp_path)) == ["file", "locked"] and not os.listdir(tmp_path / "locked")


def test_a_folder_is_not_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError), files.replacing(tmp_path / "folder") as partial:
        partial.write_bytes(b"new")
    assert os.listdir(tmp_path) == ["folder"]


def test_writers_side_by_side_do_not_meet(tmp_path):
    path, other = tmp_path / "file", tmp_path / "other"
    with files.replacing(path) as first, files.replacing(path) as second, files.replacing(other) as third:
        for number, partial in enumerate((first, second, third)):
            partial.write_text(str(number))
        assert len(os.listdir(tmp_path)) == 3
    assert path.read_text() == "0"  # the last to end, and whole
    assert other.read_text() == "2"
    assert sorted(os.listdir(tmp_path)) == ["file", "other"]


def test_permissions_are_those_of_the_file_that_was_there(tmp_path):
    path = tmp_path / "file"
    files.write_text(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask()
    path.chmod(0o640)
    files.write_text(path, "newer")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
