"""What the comparison is asked for, held against the case before any photon is simulated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import Field

from gatecheck.case.earlier_dose import read_earlier_dose
from gatecheck.case.model import Structure
from gatecheck.case.storage import read_case
from gatecheck.compare.biology.structures import NORMAL_CORD, NOT_TISSUE, Roles, configured_roles, is_meant
from gatecheck.compare.interface.structures import find_structures
from gatecheck.config import Config
from gatecheck.config_biology import AlphaBetaConfig, BiologyConfig, EffectiveLimitConfig
from gatecheck.config_setup import SetupConfig
from gatecheck.errors import InputError
from gatecheck.files import HandedOn, sha256_of_file, write_json
from gatecheck.layout import CaseLayout
from gatecheck.patient.structures import by_name, listed

CHECKED_FILE = "checked.json"


class CheckedComparison(HandedOn):
    """Written as compare/checked.json: that the comparison can be made, and of what."""

    made_from: dict[str, str]
    tumours: tuple[str, ...]
    cord: str | None
    earlier_doses_sha256: tuple[str, ...] = Field(description="of earlier courses that are given as RTDOSE")
    notes: tuple[str, ...]


def write_checked(layout: CaseLayout, config: Config) -> CheckedComparison:
    """Find what the configuration names, and write checked.json. Raises what `check_comparison` raises."""
    result = check_comparison(layout, config)
    write_json(layout.compare / CHECKED_FILE, result)
    return result


def check_comparison(layout: CaseLayout, config: Config) -> CheckedComparison:
    """Find every structure and earlier dose that the configuration names.

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
    _check_biology(config.biology, case.structures, roles)
    _check_setup_limits(config.setup, case.structures, roles)
    doses = [
        read_earlier_dose(
            layout.folder / course.dose_file,
            frame_of_reference_sha256=case.frame_of_reference_sha256,
            place=f"biology.earlier_courses.{number}.dose_file",
        ).sha256
        for number, course in enumerate(config.biology.earlier_courses)
        if course.dose_file is not None
    ]
    return CheckedComparison(
        made_from={"case": sha256_of_file(layout.case / "case.json")},
        tumours=tuple(one.name for one in found.tumours),
        cord=None if found.cord is None else found.cord.name,
        earlier_doses_sha256=tuple(doses),
        notes=(*found.notes, *(note for note in roles.notes if note not in found.notes)),
    )


def _check_biology(settings: BiologyConfig, structures: Sequence[Structure], roles: Roles) -> None:
    """Refuse what the configuration says of structures that there are not; the defaults may find none."""
    tissue = [one.name for one in structures if one.mask is not None and one.interpreted_type not in NOT_TISSUE]
    default = BiologyConfig()
    _check_names(
        "biology.alpha_beta", settings.alpha_beta, default.alpha_beta, known=tissue, structures=structures, roles=roles
    )
    # The cord without the tumour has limits of its own, but the alpha/beta of the cord.
    limited = [*tissue, *_normal_cord(roles)]
    _check_names("biology.limits", settings.limits, default.limits, known=limited, structures=structures, roles=roles)


def _check_names(
    key: str,
    entries: Iterable[AlphaBetaConfig | EffectiveLimitConfig],
    defaults: Sequence[AlphaBetaConfig | EffectiveLimitConfig],
    *,
    known: Sequence[str],
    structures: Sequence[Structure],
    roles: Roles,
) -> None:
    for number, entry in enumerate(entries):
        if entry not in defaults and not any(is_meant(name, entry.structures, cord=_cord(roles)) for name in known):
            names = " or ".join(repr(name) for name in entry.structures)
            raise InputError(
                f"{key}.{number}.structures: no structure with a volume (none of type {', '.join(NOT_TISSUE)} counts) "
                f"is called {names}. {listed(structures)}"
            )


def _check_setup_limits(settings: SetupConfig, structures: Sequence[Structure], roles: Roles) -> None:
    """Refuse a limit of a structure that setup errors are not followed in."""
    followed = [one.name for one in (roles.cord, roles.tumour) if one is not None]
    followed += [*settings.structures, *_normal_cord(roles)]
    for number, limit in enumerate(settings.limits):
        names = (limit.structure,)
        if not any(is_meant(name, names, cord=_cord(roles)) for name in followed):
            raise InputError(
                f"setup.limits.{number}.structure: setup errors are not followed in {limit.structure!r}, but in "
                f"{', '.join(followed) or 'no structure'}. Name it in setup.structures too. {listed(structures)}"
            )


def _cord(roles: Roles) -> str | None:
    return None if roles.cord is None else roles.cord.name


def _normal_cord(roles: Roles) -> list[str]:
    return [] if roles.cord is None or not roles.tumours else [NORMAL_CORD]
