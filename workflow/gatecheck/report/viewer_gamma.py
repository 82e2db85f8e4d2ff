"""Maps of gamma of the whole dose for the slice viewer, with what has to be said of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import SimpleITK as sitk

from gatecheck.compare.volume_gamma.model import UNREACHED, GammaMap, VolumeGamma
from gatecheck.report.inputs import ReportImages, ReportInputs
from gatecheck.report.numbers import number
from gatecheck.report.viewer import GammaLayer

_OTHER = {"MC": "TPS", "TPS": "Monte Carlo"}
_NAMES = {"MC": "Monte Carlo", "TPS": "TPS"}


def gamma_layers(inputs: ReportInputs, images: ReportImages) -> Iterator[GammaLayer]:
    """Every map that `compare` made."""
    gamma = inputs.compared.gamma
    for one in gamma.maps:
        image = images.gamma[one.file]
        values = sitk.GetArrayFromImage(image).astype(np.float64)
        values[values == UNREACHED] = -np.inf
        marked = sitk.GetImageFromArray(values)
        marked.CopyInformation(image)
        yield GammaLayer(
            image=marked,
            name=f"Gamma {one.criteria}, reference {one.reference}",
            words=_words(one, gamma),
            largest=one.largest,
        )


def _words(one: GammaMap, gamma: VolumeGamma) -> str:
    of = (
        ""
        if gamma.normalisation_gy is None
        else f" of {number(gamma.normalisation_gy, 2)} Gy, {gamma.normalisation_of}"
    )
    return (
        f"at the voxels of the {_NAMES[one.reference]} dose, the {_OTHER[one.reference]} dose searched; global, the "
        f"dose tolerance in %{of}; reference doses below {gamma.cutoff_percent:g} % of it are not evaluated; more than "
        f"{one.largest:g} is given as {one.largest:g}"
        + (". On the TPS's own voxels; shown here is the nearest." if one.reference == "TPS" else ".")
    )
