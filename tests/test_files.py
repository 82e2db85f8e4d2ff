"""What is handed on is written whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from gatecheck.case.model import Image
from gatecheck.errors import ResultError, WriteError
from gatecheck.files import (
    array_zyx,
    image_from_zyx,
    read_image,
    read_json,
    remove_partial,
    sha256_of_file,
    sha256_of_json,
    write_atomically,
    write_image,
    write_json,
)


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_failed_write_leaves_nothing_and_keeps_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "dose.json"
    target.write_text("old", encoding="utf-8")

    def write_half() -> None:
        with write_atomically(target) as temporary:
            temporary.write_text("new, but hal", encoding="utf-8")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        write_half()
    assert target.read_text(encoding="utf-8") == "old"
    assert _files(tmp_path) == ["dose.json"]


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path: Path) -> None:
    def write_to_a_full_disk() -> None:
        with write_atomically(tmp_path / "dose.mha"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(WriteError, match="no space left"):
        write_to_a_full_disk()
    assert _files(tmp_path) == []


def test_an_image_survives_with_its_axes_and_geometry(tmp_path: Path) -> None:
    voxels_zyx = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    write_image(tmp_path / "a.mha", image_from_zyx(voxels_zyx, origin=(1.0, 2.0, 3.0), spacing=(0.5, 1.5, 2.5)))
    image = read_image(tmp_path / "a.mha")
    assert image.GetSize() == (4, 3, 2)
    assert image.GetOrigin() == (1.0, 2.0, 3.0)
    assert image.GetSpacing() == (0.5, 1.5, 2.5)
    assert image.GetPixel(3, 0, 1) == voxels_zyx[1, 0, 3]
    np.testing.assert_array_equal(array_zyx(image), voxels_zyx)


def test_a_damaged_image_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.mha").write_bytes(b"ObjectType = Image\nNDims = 3\n")
    with pytest.raises(ResultError, match=r"a\.mha: the image is damaged"):
        read_image(tmp_path / "a.mha")


def test_a_document_of_another_shape_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "image.json").write_text('{"file": "ct.mha"}', encoding="utf-8")
    with pytest.raises(ResultError, match=r"image\.json: not a valid Image"):
        read_json(tmp_path / "image.json", Image)


def test_a_document_survives_being_written_and_read(tmp_path: Path) -> None:
    image = Image(file="ct.mha", sha256="0" * 64, size=(1, 2, 3), spacing=(1.0, 1.0, 2.0), origin=(0.1, -1e-17, 3.3))
    write_json(tmp_path / "image.json", image)
    assert read_json(tmp_path / "image.json", Image) == image


def test_hashes_are_those_of_an_independent_tool(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1: the SHA-256 of "abc"
    assert sha256_of_file(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of_json({"b": 1, "a": 2}) == sha256_of_json({"a": 2, "b": 1})


def test_what_a_killed_process_left_is_removed_folders_too(tmp_path: Path) -> None:
    left = tmp_path / ".steps.partial-abc"
    left.mkdir()
    (left / "steps.root").touch()
    (tmp_path / ".other.partial-abc.npz").touch()
    (tmp_path / "kept.npz").touch()
    remove_partial(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.npz"]
