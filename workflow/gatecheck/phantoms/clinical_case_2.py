"""Clinical case 2: 0.5 ml at C2, a little right of the midline, planned maximum 47.1 Gy."""

from __future__ import annotations

from pathlib import Path

from gatecheck.files import read_json
from gatecheck.phantoms.clinical_case import ClinicalCase
from gatecheck.phantoms.neck import Neck

CASE = ClinicalCase(
    name="clinical_case_2",
    neck=read_json(Path(__file__).with_name("neck_c2.json"), Neck),
    wanted_maximum_gy=47.1,
    airway_name="Pharynx",
)
