"""The MLC's part of `gatecheck commission`: simulate, fit what the beam data state, and give the page its section."""

from __future__ import annotations

from collections.abc import Callable

from gatecheck.commissioning.beam_data import BeamData
from gatecheck.commissioning.leaf_checks import check_leaves
from gatecheck.commissioning.leaf_fit import fit_leaves
from gatecheck.commissioning.leaf_page import LeafSection, leaf_section
from gatecheck.commissioning.water.electron_library import ElectronLibrary
from gatecheck.linac.model import LinacModel

Progress = Callable[[str, int, int], None]


def commission_leaves(
    linac: LinacModel,
    data: BeamData,
    library: ElectronLibrary,
    *,
    share: float = 1.0,
    processes: int = 1,
    progress: Progress | None = None,
) -> LeafSection:
    """What the MLC lets through, for a machine with its fitted beam, as the section `leaves` of the page.

    Parameters
    ----------
    data : BeamData
        Leaf density and gap offset are fitted when it states a leaf transmission or a dosimetric leaf gap.
    share : float
        Of the usual number of photons.

    Raises
    ------
    InputError
        When a stated value asks for leaves that cannot be.
    SimulationError
    """

    def say(done: int, total: int) -> None:
        if progress is not None:
            progress("leaf fields", done, total)

    results = check_leaves(linac, library, share=share, processes=processes, progress=say)
    fitted = fit_leaves(linac, data, library, share=share, processes=processes, progress=progress)
    return leaf_section(results, data, fitted)
