"""The files that a scan is read from: a study is made again when one of them changes."""

import h5py
import numpy as np
import pytest

from ptycho.scans import formats


def test_a_file_of_its_own_is_all_there_is(tmp_path):
    path = tmp_path / "scan.npz"
    np.savez(path, diff3d=np.ones((1, 4, 4)))
    assert formats.files_of(path) == [path]
    other = tmp_path / "notes.txt"
    other.write_text("of no kind known here")
    assert formats.files_of(other) == [other]


@pytest.mark.parametrize("given", ["scan_dp.hdf5", "scan_para.hdf5"])
def test_both_files_of_a_pair_count_whichever_is_named(tmp_path, given):
    dp, para = tmp_path / "scan_dp.hdf5", tmp_path / "scan_para.hdf5"
    with h5py.File(dp, "w") as file:
        file["dp"] = np.ones((2, 4, 4))
    with h5py.File(para, "w") as file:
        file["probe"] = np.ones((1, 1, 4, 4), complex)
    found = formats.files_of(tmp_path / given)
    assert found[0].name == given and set(found) == {dp, para}


def test_a_product_beside_the_patterns_counts(tmp_path):
    path, product = tmp_path / "diffraction.h5", tmp_path / "product.h5"
    with h5py.File(path, "w") as file:
        file["patterns"] = np.ones((2, 4, 4))
    assert formats.files_of(path) == [path]
    with h5py.File(product, "w") as file:
        file["probe"] = np.ones((1, 1, 4, 4), complex)
    assert formats.files_of(path) == [path, product]


def test_what_a_master_file_links_to_counts_where_it_is_there(tmp_path):
    with h5py.File(tmp_path / "frames_1.h5", "w") as file:
        file["data"] = np.ones((2, 4, 4))
    with h5py.File(tmp_path / "frames_2.h5", "w") as file:
        file["data"] = np.ones((2, 4, 4))
    master = tmp_path / "master.h5"
    layout = h5py.VirtualLayout((2, 4, 4), float)
    layout[:] = h5py.VirtualSource("frames_2.h5", "data", (2, 4, 4))
    with h5py.File(master, "w") as file:
        file["entry/data/first"] = h5py.ExternalLink("frames_1.h5", "/data")
        file["entry/data/gone"] = h5py.ExternalLink("frames_3.h5", "/data")
        file.create_virtual_dataset("entry/data/second", layout)
    assert set(formats.files_of(master)) == {master, tmp_path / "frames_1.h5", tmp_path / "frames_2.h5"}


def test_a_link_counts_from_where_its_file_really_is_and_so_does_what_it_leads_to(tmp_path):
    """Also in a circle; and the raw file that a dataset is kept in."""
    (tmp_path / "raw").mkdir()
    frames, master, link = tmp_path / "raw" / "frames.h5", tmp_path / "master.h5", tmp_path / "raw" / "link.h5"
    with h5py.File(frames, "w") as file:
        file.create_dataset("data", (2, 4, 4), "u1", external=[(str(tmp_path / "raw" / "frames.bin"), 0, 32)])[:] = 1
        file["back"] = h5py.ExternalLink("../master.h5", "/data")
        file["no such name"] = h5py.ExternalLink("x" * 5000, "/data")
    with h5py.File(master, "w") as file:
        file["data"] = h5py.ExternalLink("raw/frames.h5", "/data")
    link.symlink_to("../master.h5")
    found = formats.files_of(link)
    assert found[0] == link and set(found) >= {frames, tmp_path / "raw" / "frames.bin"} and len(found) <= 4
