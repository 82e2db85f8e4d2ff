"""What the comparison is asked for, held against the case before any photon is simulated."""

from __future__ import annotations

from pydantic import Field

from gatecheck.case.earlier_dose import read_earlier_dose
from gatecheck.case.storage import read_case
from gatecheck.compare.biology.structures import configured_roles
from gatecheck.compare.interface.structures import find_structures
from gatecheck.config import Config
from gatecheck.files import HandedOn, sha256_of_file, write_json
from gatecheck.layout import CaseLayout
from gatecheck.patient.structures import by_name

CHECKED_FILE = "checked.json"


class CheckedComparison(HandedOn):
    """Written as compare/checked.json: that the comparison can be made, and of what."""

    made_from: dict[str, str]
    tumours: tuple[str, ...]
    cord: str | None
    earlier_doses_sha256: tuple[str, ...] = Field(description="of earlier courses that are given as RTDOSE")
    notes: tuple[str, ...]


def check_comparison(layout: CaseLayout, config: Config) -> CheckedComparison:
    """Find every structure and earlier dose that the configuration names, and write checked.json.

    Raises
    ------
    InputError
        Naming the key of what is missing, ambiguous or cannot be used.
    UnsupportedPlanError
        When an earlier dose is not that of a whole course.
    """
    case = read_case(layout.case)
    found = find_structures(case.structures, config.comparison)
    roles = configured_roles(case.structures, config.setup, config.comparison)
    for name in config.setup.structures:
        by_name(case.structures, name, key="setup.structures")
    doses = [
        read_earlier_dose(
            layout.folder / course.dose_file,
            frame_of_reference_sha256=case.frame_of_reference_sha256,
            place=f"biology.earlier_courses.{number}.dose_file",
        ).sha256
        for number, course in enumerate(config.biology.earlier_courses)
        if course.dose_file is not None
    ]
    result = CheckedComparison(
        made_from={"case": sha256_of_file(layout.case / "case.json")},
        tumours=tuple(one.name for one in found.tumours),
        cord=None if found.cord is None else found.cord.name,
        earlier_doses_sha256=tuple(doses),
        notes=(*found.notes, *(note for note in roles.notes if note not in found.notes)),
    )
    write_json(layout.compare / CHECKED_FILE, result)
    return result
