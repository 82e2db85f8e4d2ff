"""Clinical case 1: 0.3 ml at C6-7, a little left of the midline, planned maximum 46.3 Gy."""

from __future__ import annotations

from pathlib import Path

from gatecheck.files import read_json
from gatecheck.phantoms.clinical_case import ClinicalCase
from gatecheck.phantoms.neck import Neck

CASE = ClinicalCase(
    name="clinical_case_1",
    neck=read_json(Path(__file__).with_name("neck_c6_7.json"), Neck),
    wanted_maximum_gy=46.3,
    airway_name="Trachea",
)
