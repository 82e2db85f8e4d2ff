"""By which model electrons scatter: what Geant4 is told, and that one model's results are not taken for another's."""

from __future__ import annotations

import pytest
from fast_head_deliveries import STX

from gatecheck.config_transport import CalibrationConfig, TransportConfig
from gatecheck.transport.calibrate import calibration_key
from gatecheck.transport.engine import describe_engine, geant4_commands
from gatecheck.transport.full_head import simulate

OWN = TransportConfig(multiple_scattering_model="physics_list")


def _limits(settings: TransportConfig) -> list[str]:
    return [command for command in geant4_commands(settings) if command.startswith("/process/msc/EnergyLimit")]


@pytest.mark.parametrize(
    ("physics_list", "model", "is_wentzel"),
    [
        ("G4EmStandardPhysics", "auto", True),
        ("G4EmStandardPhysics", "physics_list", False),
        ("G4EmStandardPhysics_option4", "auto", False),
        ("G4EmStandardPhysics_option4", "WentzelVI", True),
    ],
)
def test_geant4_is_told_to_leave_no_energy_to_the_list_s_own_model(
    physics_list: str, model: str, is_wentzel: bool
) -> None:
    settings = TransportConfig(physics_list=physics_list, multiple_scattering_model=model)
    assert settings.uses_wentzel_vi is is_wentzel
    assert _limits(settings) == (["/process/msc/EnergyLimit 0.001 MeV"] if is_wentzel else [])


def test_a_result_says_the_model() -> None:
    assert describe_engine(TransportConfig()).settings["multiple_scattering_model"] == "Wentzel VI"
    assert describe_engine(OWN).settings["multiple_scattering_model"] == "the physics list's own"


def test_a_calibration_of_one_model_is_not_taken_for_the_other_s() -> None:
    keys = {
        calibration_key(STX, describe_engine(one, "fast"), CalibrationConfig(), 0) for one in (TransportConfig(), OWN)
    }
    assert len(keys) == 2


def test_metal_of_the_full_head_keeps_the_list_s_model() -> None:
    assert not _limits(simulate._settings_of_head(TransportConfig(), 0.1, (0.2, 0.05)))
