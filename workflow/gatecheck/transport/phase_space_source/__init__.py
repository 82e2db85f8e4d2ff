"""A recorded phase space (IAEA format) as the machine's source, in place of the source model."""

from gatecheck.transport.phase_space_source.sample import SampledHistories, recorded_rays, sample_histories
from gatecheck.transport.phase_space_source.source import HistoryRun, PhaseSpaceSource, open_source

__all__ = ["HistoryRun", "PhaseSpaceSource", "SampledHistories", "open_source", "recorded_rays", "sample_histories"]
