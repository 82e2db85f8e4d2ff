"""How well that is known which was wanted: the widest of what there is, and nothing where there is nothing."""

from __future__ import annotations

import pytest

from gatecheck.compare.interface.model import CordMaximum, Estimate, Interface, InterfaceComparison, ShellComparison
from gatecheck.compare.model import DoseMetrics, Metric, StructureComparison
from gatecheck.compare.precision import precisions_of
from gatecheck.config_transport import HalfWidthConfig, TransportConfig
from gatecheck.dose.model import MergeResult

ALL = tuple(HalfWidthConfig(metric=metric, percent=1.0) for metric in ("cord_d003cc", "tumour_d95", "shell_means"))


def _merged(*, target: float | None, fine: float = 0.012, voxels: int = 100) -> MergeResult:
    return MergeResult.model_construct(
        target_relative_sigma=target, fine_relative_sigma=fine, fine_voxels=voxels, mean_relative_sigma=0.5
    )


def _estimate(value: float, half: float) -> Estimate:
    return Estimate(value=value, sigma=half / 2, low=value - half, high=value + half)


def _shell(half: float | None) -> ShellComparison:
    return ShellComparison.model_construct(mc_mean_gy=None if half is None else _estimate(20.0, half))


def _tumour(name: str, shells: tuple[float | None, ...], cord: float | None) -> InterfaceComparison:
    maximum = None if cord is None else CordMaximum.model_construct(mc_gy=_estimate(40.0, cord))
    return InterfaceComparison.model_construct(
        tumour=name, prescription_gy=40.0, shells=tuple(map(_shell, shells)), cord_maximum=maximum
    )


def _structure(name: str, half: float | None) -> StructureComparison:
    if half is None:
        return StructureComparison.model_construct(name=name, mc=None)
    d95 = Metric(value=38.0, sigma=half / 2, interval_95=(38.0 - half, 38.0 + half))
    return StructureComparison.model_construct(name=name, mc=DoseMetrics.model_construct(d95_gy=d95))


def test_the_least_known_of_several_tumours_and_shells_counts_in_per_cent_of_the_prescription() -> None:
    interface = Interface.model_construct(
        tumours=(_tumour("one", (0.1, None, 0.4), 0.2), _tumour("two", (0.2,), 0.3)), notes=()
    )
    structures = [_structure("one", 0.6), _structure("two", 0.5), _structure("cord", 3.0)]
    settings = TransportConfig(target_half_widths=ALL)
    found = precisions_of(settings, _merged(target=0.01), interface, structures)
    assert [one.name for one in found] == ["relative_sigma", "cord_d003cc", "tumour_d95", "shell_means"]
    assert [one.reached for one in found] == pytest.approx([1.2, 0.75, 1.5, 1.0])
    assert found[0].more_photons == pytest.approx(1.44)


def test_what_is_not_to_be_had_asks_for_no_photons() -> None:
    interface = Interface.model_construct(tumours=(_tumour("one", (), None),), notes=())
    settings = TransportConfig(target_half_widths=ALL)
    found = precisions_of(settings, _merged(target=0.01, voxels=0), interface, [_structure("one", None)])
    assert [one.reached for one in found] == [None, None, None, None]
    assert [one.more_photons for one in found] == [0.0, 0.0, 0.0, 0.0]


def test_only_what_was_asked_for_is_looked_at() -> None:
    assert precisions_of(TransportConfig(), _merged(target=None), None, ()) == ()
    (sigma,) = precisions_of(TransportConfig(), _merged(target=0.02), None, ())
    assert (sigma.wanted, sigma.reached) == pytest.approx((2.0, 1.2))
