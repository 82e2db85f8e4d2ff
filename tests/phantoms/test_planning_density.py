"""The planning engine narrows its kernels by the density of the tissue round the isocentre, and by no other."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.phantoms.planning.beam_model import stored_beam
from gatecheck.phantoms.planning.engine import DoseEngine, Patient
from gatecheck.phantoms.planning.plane_dose import CommissionedBeam
from gatecheck.phantoms.planning.tissue import electron_density
from gatecheck.phantoms.solids import Raster

RASTER = Raster((60, 50, 40), (1.0, 1.0, 2.0), (-30.0, -25.0, -40.0))
ISOCENTRE = (12.0, -9.0, 16.0)  # voxel (42, 16, 28)


def _engine(ct_numbers_zyx: np.ndarray) -> DoseEngine:
    model = stored_beam()
    return DoseEngine(CommissionedBeam(model, kernel=None, gray_per_unit=1.0), Patient(ct_numbers_zyx, RASTER, "HFS"))  # type: ignore[arg-type]


def test_density_is_that_of_the_voxels_round_the_isocentre() -> None:
    ct_numbers = np.full((40, 50, 60), 900, np.int16)
    ct_numbers[26:31, 11:22, 37:48] = 60  # within 5 mm along each axis
    assert _engine(ct_numbers)._density_round(ISOCENTRE) == pytest.approx(float(electron_density(60)))
    ct_numbers[28, 16, 47] = 900
    assert _engine(ct_numbers)._density_round(ISOCENTRE) > float(electron_density(60))


def test_density_is_water_s_in_air_and_outside_of_the_ct() -> None:
    engine = _engine(np.full((40, 50, 60), -1000, np.int16))
    assert engine._density_round(ISOCENTRE) == 1.0
    assert engine._density_round((500.0, 0.0, 0.0)) == 1.0
