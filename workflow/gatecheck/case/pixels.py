"""Stored pixel values of CT and RTDOSE files."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from gatecheck.case.attributes import DAMAGE, code, required_integer
from gatecheck.errors import InputError

_UNCOMPRESSED = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
)


def stored_values(dataset: Dataset, place: str) -> npt.NDArray[np.int64]:
    """Stored values of all frames, shape (..., rows, columns), sign taken from BitsStored.

    Raises
    ------
    InputError
        When pixels are missing, truncated, in colour, or compressed in a way that cannot be read here.
    """
    if "PixelData" not in dataset:
        raise InputError(f"{place}: Pixel Data (7FE0,0010) is missing; the file may be truncated. Export it again.")
    samples = required_integer(dataset, "SamplesPerPixel", place)
    if samples != 1 or code(dataset, "PhotometricInterpretation") != "MONOCHROME2":
        raise InputError(f"{place}: Photometric Interpretation (0028,0004) MONOCHROME2 with one sample is expected.")
    try:
        pixels = np.asarray(dataset.pixel_array)
    except (*DAMAGE, RuntimeError, ImportError):
        if dataset.file_meta.TransferSyntaxUID not in _UNCOMPRESSED:
            raise InputError(
                f"{place}: the compression of Pixel Data (7FE0,0010) cannot be read. Export it uncompressed."
            ) from None
        raise InputError(
            f"{place}: Pixel Data (7FE0,0010) is truncated or does not fit rows, columns and bits. Export it again."
        ) from None
    return _with_stored_bits_only(pixels, dataset, place)


def _with_stored_bits_only(pixels: npt.NDArray[np.generic], dataset: Dataset, place: str) -> npt.NDArray[np.int64]:
    """Drop bits above the high bit, where old scanners keep overlays, and extend the sign."""
    bits = required_integer(dataset, "BitsStored", place)
    high_bit = required_integer(dataset, "HighBit", place)
    signed = required_integer(dataset, "PixelRepresentation", place) == 1
    if high_bit != bits - 1 or not 1 < bits <= 32:
        raise InputError(
            f"{place}: Bits Stored (0028,0101) {bits} with High Bit (0028,0102) {high_bit} is not valid. Export again."
        )
    values = pixels.astype(np.int64) & ((1 << bits) - 1)
    if signed:
        values = np.where(values >= 1 << (bits - 1), values - (1 << bits), values)
    return values
