"""Files handed from room to room: written whole or not at all, and known by their SHA-256."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from pydantic import BaseModel, ConfigDict, ValidationError

from gatecheck.errors import ResultError, WriteError

FloatArray = npt.NDArray[np.floating]
ModelT = TypeVar("ModelT", bound=BaseModel)

_BLOCK = 1 << 20


class HandedOn(BaseModel):
    """Base of every JSON document handed from one room to the next."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = 1


@contextlib.contextmanager
def write_atomically(target: Path) -> Iterator[Path]:
    """Give a temporary path to write to, renamed to `target` only when the block succeeds.

    The temporary name keeps the suffix of `target` (ITK and matplotlib choose formats by it), and
    lies in the same folder, so that the rename cannot cross file systems.

    Raises
    ------
    WriteError
        When the disk is full, the quota is used up or the folder cannot be written to. Nothing is
        left behind.
    """
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{target.stem}.partial-", suffix="".join(target.suffixes), dir=target.parent
        )
        os.close(handle)
        temporary = Path(name)
        yield temporary
        _make_durable(temporary)
        temporary.chmod(0o644)
        temporary.replace(target)
    except OSError as error:
        raise _explained(error, target) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def remove_partial(folder: Path) -> None:
    """Remove what a killed process was about to write to a folder, folders too; nobody may be writing to it."""
    for path in folder.glob(".*.partial-*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _make_durable(path: Path) -> None:
    """Flush the file to the disk, so that a full disk shows now and not after the rename."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _explained(error: OSError, target: Path) -> WriteError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(_existing_parent(target)).free / 1e6
        return WriteError(
            f"{target.name}: no space left to write it ({free:.0f} MB free). Nothing half-written was "
            "kept; free some space and run the same command again."
        )
    return WriteError(f"{target.name}: cannot be written ({error.strerror or error}).")


def _existing_parent(path: Path) -> Path:
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def sha256_of_json(value: object) -> str:
    """SHA-256 of a JSON-able value in canonical form (sorted keys, no white space)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def write_json(path: Path, model: BaseModel) -> None:
    """Write a pydantic model as indented JSON, atomically."""
    with write_atomically(path) as temporary:
        temporary.write_text(model.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_json(path: Path, model: type[ModelT]) -> ModelT:
    """Read a JSON document back into its model.

    Raises
    ------
    ResultError
        When the file is missing, is not JSON, or is not such a document.
    """
    try:
        return model.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ResultError(f"{path.name}: not found in {path.parent.name}/. Run the step before it first.") from None
    except (ValidationError, UnicodeDecodeError) as error:
        raise ResultError(
            f"{path.name}: not a valid {model.__name__} of this version of gatecheck ({_first_line(error)}). "
            "Delete it and run again."
        ) from error


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error).splitlines()[0]


def write_image(path: Path, image: sitk.Image) -> None:
    """Write a MetaImage (compressed), atomically."""
    with write_atomically(path) as temporary:
        try:
            sitk.WriteImage(image, str(temporary), useCompression=True)
        except RuntimeError as error:
            # ITK hides errno; a probe write tells a full disk from everything else.
            raise _probed(error, temporary) from error
        _check_image_is_whole(temporary, image)


def _probed(error: RuntimeError, temporary: Path) -> OSError:
    free = shutil.disk_usage(temporary.parent).free
    if free < _BLOCK:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return OSError(errno.EIO, f"SimpleITK: {str(error).splitlines()[-1]}")


def _check_image_is_whole(path: Path, image: sitk.Image) -> None:
    """ITK's MetaImage writer can lose the end of a file on a full disk without an error."""
    try:
        back = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise _probed(error, path) from error
    if back.GetSize() != image.GetSize():
        raise OSError(errno.EIO, "the image written differs from the image in memory")


def read_image(path: Path) -> sitk.Image:
    """Read an image.

    Raises
    ------
    ResultError
        When the file is missing or damaged.
    """
    if not path.exists():
        raise ResultError(f"{path.name}: not found in {path.parent.name}/. Run the step before it first.")
    try:
        return sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise ResultError(f"{path.name}: the image is damaged. Delete it and run again.") from error


def image_from_zyx(
    array_zyx: npt.NDArray[np.generic],
    *,
    origin: tuple[float, float, float],
    spacing: tuple[float, float, float],
) -> sitk.Image:
    """Make an axis-aligned image from an array indexed [z, y, x].

    Parameters
    ----------
    array_zyx : ndarray of shape (nz, ny, nx)
    origin : centre of voxel [0, 0, 0], as (x, y, z) in LPS mm
    spacing : (x, y, z) in mm
    """
    image = sitk.GetImageFromArray(array_zyx)
    image.SetOrigin(origin)
    image.SetSpacing(spacing)
    return image


def array_zyx(image: sitk.Image) -> npt.NDArray[np.generic]:
    """The voxels of an image as an array indexed [z, y, x] (a copy)."""
    array: npt.NDArray[np.generic] = sitk.GetArrayFromImage(image)
    return array
