"""Free text of a plan that names its patient: taken out before anything else reads it.

Structures and beams are called as people please, and what they are called comes into results, logs and messages. What
the same files say of the patient (names and IDs), and what looks like a date, is taken out of it here.
"""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Iterable, Iterator

from pydicom.dataset import Dataset

from gatecheck.case.attributes import DAMAGE, Notes, text
from gatecheck.case.folder import DicomFolder

REMOVED = "[removed]"

_NAMES = ("PatientName", "PatientBirthName", "PatientMotherBirthName", "OtherPatientNames")
_IDS = ("PatientID", "OtherPatientIDs", "AccessionNumber", "StudyID")
# Shorter parts would be found in the names of structures: "Li" and "L1" are no one's secret.
_SHORTEST_NAME = 3
_SHORTEST_ID = 4
# Phantoms and de-identified patients are called by these; what a structure is would be lost, and nobody is known by it.
_ANATOMY_WORDS = """
abdomen adrenal anus aorta bladder body bone bowel brain brainstem breast bronchus carotid cauda cervical
chest chiasm cochlea colon cord couch duodenum esophagus external eye face femur gland gross gtv ctv itv ptv
head heart hip iliac jaw kidney larynx left lens lesion lip liver lumbar lung mandible medulla neck nerve
node oesophagus optic oral organ ovary pancreas parotid pelvis penile phantom pituitary prostate rectum
retina rib right sacrum shoulder skin skull spinal spine spleen sternum stomach target temporal testis
thecal thoracic thorax thyroid tongue tooth trachea tumor tumour uterus vertebra vessel volume
"""
_ANATOMY = frozenset(_ANATOMY_WORDS.split())
# Sequences and the free text in their items that results show.
_SHOWN = (
    ("StructureSetROISequence", ("ROIName",)),
    ("BeamSequence", ("BeamName",)),
)
_LETTER_OR_DIGIT = r"[^\W_]"
_DATES = (
    (re.compile(r"(?<!\d)((?:19|20)\d\d)([-./ ]?)(\d\d)\2(\d\d)(?!\d)"), (1, 3, 4)),
    (re.compile(r"(?<!\d)(\d{1,2})([-./ ])(\d{1,2})\2((?:19|20)\d\d)(?!\d)"), (4, 3, 1)),
)


def remove_identity(folder: DicomFolder, notes: Notes) -> None:
    """Take the patient's name, IDs and dates out of what structures and beams are called, in place.

    Parts of a name count from three letters on and as whole words, IDs from four characters on, a date wherever it is
    written with its year in full.
    """
    files = (*folder.ct, *folder.plans, *folder.structure_sets, *folder.doses)
    known = _pattern([secret for file in files for secret in _secrets(file.dataset)])
    changed = [
        kind
        for file in (*folder.plans, *folder.structure_sets)
        for kind, keywords in _SHOWN
        for item in _items(file.dataset, kind)
        for keyword in keywords
        if _clean(item, keyword, known)
    ]
    if changed:
        notes.add(
            "identity-in-names",
            f"{len(changed)} names of structures or beams held the patient's name, an ID or a date, which were taken "
            f"out ({REMOVED}). Rename them in the planning system, or set case.show_identity.",
        )


def without_identity(given: str, known: re.Pattern[str] | None) -> str:
    """A text without the parts that are known to identify, and without dates."""
    cleaned = given if known is None else known.sub(REMOVED, given)
    for pattern, places in _DATES:
        cleaned = pattern.sub(functools.partial(_removed_if_date, places=places), cleaned)
    return cleaned


def _removed_if_date(found: re.Match[str], places: tuple[int, int, int]) -> str:
    year, month, day = (int(found[place]) for place in places)
    for ordered in ((year, month, day), (year, day, month)):
        try:
            datetime.date(*ordered)
        except ValueError:
            continue
        return REMOVED
    return found[0]


def _secrets(dataset: Dataset) -> Iterator[str]:
    for keyword in _NAMES:
        for part in re.split(r"[\W_\d]+", text(dataset, keyword)):
            if len(part) >= _SHORTEST_NAME and part.casefold() not in _ANATOMY:
                yield part
    for keyword in _IDS:
        for part in re.split(r"[\\,\[\]'\"\s]+", text(dataset, keyword)):
            if len(part) >= _SHORTEST_ID:
                yield part


def _pattern(secrets: Iterable[str]) -> re.Pattern[str] | None:
    """Any of the secrets where no letter or digit stands next to it; None without any."""
    longest_first = sorted({secret.casefold() for secret in secrets}, key=lambda secret: (-len(secret), secret))
    if not longest_first:
        return None
    either = "|".join(map(re.escape, longest_first))
    return re.compile(f"(?<!{_LETTER_OR_DIGIT})(?:{either})(?!{_LETTER_OR_DIGIT})", re.IGNORECASE)


def _items(dataset: Dataset, keyword: str) -> Iterable[Dataset]:
    """None of a damaged sequence: the room that reads it says so."""
    try:
        return list(dataset.get(keyword) or ())
    except DAMAGE:
        return ()


def _clean(item: Dataset, keyword: str, known: re.Pattern[str] | None) -> bool:
    try:
        given = text(item, keyword)
        cleaned = without_identity(given, known)
        if cleaned == given:
            return False
        setattr(item, keyword, cleaned)
    except DAMAGE:
        return False
    return True
