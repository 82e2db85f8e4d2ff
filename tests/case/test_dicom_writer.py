"""The writer of made cases: the same input gives the same bytes, and the bytes are valid DICOM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import config
from synthetic_dicom import write_set

from gatecheck.phantoms.dicom_writer import Identity, Uids, write_ct


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, pristine_set: Path) -> None:
    write_set(tmp_path)
    names = sorted(path.name for path in pristine_set.iterdir())
    assert names == sorted(path.name for path in tmp_path.iterdir())
    for name in names:
        assert (tmp_path / name).read_bytes() == (pristine_set / name).read_bytes(), name


def test_every_value_fits_its_value_representation(pristine_set: Path) -> None:
    """pydicom in its strictest mode: lengths of decimal strings, characters of codes, dates, UIDs."""
    with config.strict_reading():
        for path in pristine_set.iterdir():
            elements = list(pydicom.dcmread(path).iterall())
            assert len(elements) > 30


def test_uids_are_valid_and_all_different() -> None:
    uids = Uids("a seed")
    made = [uids.study, uids.frame_of_reference, uids.structure_set, uids.plan, uids.dose(), uids.series("CT")]
    made += [uids.ct_slice(index) for index in range(3)]
    assert len(set(made)) == len(made)
    assert all(uid.is_valid for uid in made)
    assert Uids("a seed").plan == uids.plan != Uids("another").plan


@pytest.mark.parametrize(
    ("name", "required"),
    [
        ("CT_001", "ImageType PatientName PatientID StudyDate SeriesNumber InstanceNumber PositionReferenceIndicator"),
        ("RTSTRUCT", "StructureSetLabel StructureSetDate StructureSetTime RTROIObservationsSequence OperatorsName"),
        ("RTPLAN", "RTPlanLabel RTPlanDate RTPlanTime RTPlanGeometry ReferencedStructureSetSequence OperatorsName"),
        ("RTDOSE", "DoseUnits DoseType DoseSummationType GridFrameOffsetVector FrameIncrementPointer BitsStored"),
    ],
)
def test_attributes_that_the_standard_requires_are_there(pristine_set: Path, name: str, required: str) -> None:
    dataset = pydicom.dcmread(pristine_set / f"{name}.dcm")
    always = "SOPClassUID SOPInstanceUID Modality StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID Manufacturer"
    assert [keyword for keyword in f"{always} {required}".split() if keyword not in dataset] == []


def test_ct_numbers_below_what_can_be_stored_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="-2000 found"):
        write_ct(
            tmp_path,
            np.full((2, 2, 2), -2000, dtype=np.int16),
            origin=(0, 0, 0),
            spacing=(1, 1, 1),
            identity=Identity(),
            uids=Uids("x"),
        )
