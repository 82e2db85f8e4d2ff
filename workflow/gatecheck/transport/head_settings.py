"""Which head brought the photons through jaws and leaves, in the words of a result; part of every hash through them."""

from __future__ import annotations

from gatecheck.config import HeadKind
from gatecheck.delivery.segments import LARGEST_MOTION, LARGEST_ROTATION

# Electrons, positrons and photons in the metal of the full head, and the electrons' steps: estimates, which
# tests/physics/test_full_head_cuts.py has yet to confirm.
PRODUCTION_CUT = 0.1  # mm
STEP_FUNCTION = (0.2, 0.05)  # largest fractional energy loss range per step, and final range in mm
# Whatever model the patient's electrons follow: photons leave the metal, and hardly feel it.
MULTIPLE_SCATTERING_MODEL = "physics_list"
MOST_HISTORIES_AT_ONCE = 2_000_000
"""Source photons that a full head takes in one process: it holds all of them, where the fast head holds a block."""


def head_settings(head: HeadKind) -> dict[str, str]:
    """The head and all of its own settings that change a dose."""
    if head == "fast":
        return {"head": "fast: rays through jaws and leaves, by gatecheck"}
    fraction, final_range = STEP_FUNCTION
    return {
        "head": "full: jaws and leaves as GATE volumes",
        "head_production_cut_mm": f"{PRODUCTION_CUT:g}",
        "head_electron_step_function": f"{fraction:g}, {final_range:g} mm",
        "head_multiple_scattering_model": MULTIPLE_SCATTERING_MODEL,
        "head_largest_segment": f"{LARGEST_ROTATION:g} degrees, {LARGEST_MOTION:g} mm at the isocentre plane",
    }
