"""Gamma: the distance, in dose and in space, of each point of one dose from another dose."""

from gatecheck.compare.gamma.engine import ACCURACY, gamma_at, gamma_map
from gatecheck.compare.gamma.model import PASS_LIMIT, GammaCriteria, GammaResult, GammaValues

__all__ = ["ACCURACY", "PASS_LIMIT", "GammaCriteria", "GammaResult", "GammaValues", "gamma_at", "gamma_map"]
