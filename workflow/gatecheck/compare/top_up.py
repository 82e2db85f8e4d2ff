"""A round after the pilot's: merges and compares what there is, and asks for more where more was wanted."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from gatecheck.compare.compare import compare
from gatecheck.compare.precision import precisions_of
from gatecheck.config import Config
from gatecheck.dose.merge import merge
from gatecheck.files import read_json
from gatecheck.layout import CaseLayout
from gatecheck.linac.model import LinacModel
from gatecheck.transport.model import CalibrationResult, Precision, TopUp
from gatecheck.transport.phase_space_source import PhaseSpaceSource
from gatecheck.transport.plan import plan_top_up
from gatecheck.transport.rounds import forget_top_ups

logger = logging.getLogger(__name__)


def top_up(
    layout: CaseLayout,
    config: Config,
    number: int,
    *,
    linac: LinacModel,
    prescription_gy: float | None,
    source: PhaseSpaceSource | None = None,
) -> TopUp:
    """Look at what all chunks so far give and write transport/top-up-<number>.json.

    Nothing is left of the dose that was merged to look: the workflow merges when no round follows.

    Parameters
    ----------
    number : int
        Of the round, from 1.

    Raises
    ------
    GatecheckError
        As `merge` and `compare`.
    """
    forget_top_ups(layout.transport, number)
    precisions = _precisions_so_far(layout, config, prescription_gy)
    result = plan_top_up(
        number=number,
        precisions=precisions,
        linac_sha256=linac.content_sha256,
        settings=config.transport,
        out_folder=layout.transport,
        source=source,
    )
    for one in precisions:
        reached = "not to be had from this case" if one.reached is None else f"{one.reached:.2f} %"
        logger.info("%s: %.2f %% wanted, %s", one.name, one.wanted, reached)
    return result


def _precisions_so_far(layout: CaseLayout, config: Config, prescription_gy: float | None) -> tuple[Precision, ...]:
    with tempfile.TemporaryDirectory(prefix=".partial-round-", dir=layout.transport) as name:
        dose, compared = Path(name) / "dose", Path(name) / "compare"
        dose.mkdir()
        compared.mkdir()
        merged = merge(
            transport_folder=layout.transport,
            patient_folder=layout.patient,
            delivery_path=layout.delivery,
            calibration=read_json(layout.calibration, CalibrationResult),
            out_folder=dose,
            prescription_gy=prescription_gy,
        )
        if not config.transport.target_half_widths:
            return precisions_of(config.transport, merged, None, ())
        return compare(layout, config, dose_folder=dose, out_folder=compared, is_for_round=True).precisions
