"""What every DICOM file that gatecheck writes has in common."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from gatecheck.files import write_atomically

IMPLEMENTATION_CLASS_UID = UID("2.25.246118413770187461217720240319811350701")
"""Names gatecheck in the file meta information."""

IMPLEMENTATION_VERSION_NAME = "GATECHECK_1"


def new_dataset(sop_class: UID, sop_instance: UID) -> Dataset:
    """A data set with its file meta information, which does not name the library that writes it."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = sop_instance
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = sop_class
    dataset.SOPInstanceUID = sop_instance
    return dataset


def decimal(value: float) -> str:
    """A decimal string (DS) of at most 16 characters."""
    return format_number_as_ds(float(value) + 0.0)  # + 0.0 turns -0.0 into 0.0


def decimals(values: Sequence[float] | npt.NDArray[np.floating]) -> list[str]:
    """Decimal strings of several values."""
    return [decimal(value) for value in values]


def set_pixels(dataset: Dataset, stored: npt.NDArray[np.integer]) -> None:
    """Pixel data and the attributes that say how they are stored; signed integers stay signed."""
    bits = stored.dtype.itemsize * 8
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.BitsAllocated = bits
    dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = int(np.issubdtype(stored.dtype, np.signedinteger))
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OW"


def reference(sop_class: UID | str, sop_instance: UID | str) -> Dataset:
    """Item that refers to another file."""
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class
    item.ReferencedSOPInstanceUID = sop_instance
    return item


def save(dataset: Dataset, path: Path) -> None:
    """Write the file whole or not at all."""
    with write_atomically(path) as temporary:
        dcmwrite(temporary, dataset, enforce_file_format=True)
