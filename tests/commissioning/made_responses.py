"""Responses made by formula, so that a fit's answer is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import erf

from gatecheck.commissioning.beam_data import JawField
from gatecheck.commissioning.responses import ResponseSet
from gatecheck.commissioning.water.source_basis import ELECTRON_ENERGY, PHOTON_ENERGY, SourceBasis
from gatecheck.commissioning.water.tank import Response, TankSetup

FloatArray = npt.NDArray[np.float64]

SETUP = TankSetup(1000.0, 320.0, (15.0, 100.0))


def made_response(basis: SourceBasis, jaws: JawField, *, spot_scale: float = 1.0, setup: TankSetup = SETUP) -> Response:
    """Photons of energy E attenuate as exp(-mu(E) d) behind a build-up; electrons stop within 10 mm.

    The extra-focal part grows with the field; the edge is an error function whose width follows the spot.
    """
    depth = np.arange(0.5, setup.deepest, 1.0)
    position = np.arange(0.5, 250.0, 1.0)
    focal, extra, electrons = basis.sizes
    mu = 0.007 / np.sqrt(PHOTON_ENERGY)
    build_up = 1.0 - np.exp(-np.outer(depth, 1.0 / (1.0 + PHOTON_ENERGY)) / 1.5)
    by_energy = PHOTON_ENERGY * mu * np.exp(-np.outer(depth, mu)) * build_up
    rings = len(basis.radius)
    on_axis = np.zeros(rings)
    on_axis[0] = 1.0
    side = jaws.size_x
    dose = np.zeros((len(depth), basis.size))
    dose[:, :focal] = (by_energy[:, :, np.newaxis] * on_axis).reshape(len(depth), focal)
    seen = side / (side + 60.0)
    discs = extra // len(PHOTON_ENERGY)
    width = np.exp(-np.linspace(0, 3, discs) / (side / 100.0))
    dose[:, focal : focal + extra] = seen * (by_energy[:, :, np.newaxis] * width).reshape(len(depth), extra)
    stopped = np.exp(-np.outer(depth, 1.0 / (2.0 * ELECTRON_ENERGY)))
    dose[:, focal + extra :] = np.repeat(stopped, electrons // len(ELECTRON_ENERGY), axis=1)
    profile = np.zeros((len(setup.profile_depth), 2, len(position), basis.size))
    for number, at in enumerate(setup.profile_depth):
        magnified = (setup.source_surface_distance + at) / 1000.0
        sigma = 2.0 * spot_scale * magnified
        open_part = 0.5 * (1 - erf((position - side / 2 * magnified) / (np.sqrt(2) * sigma)))
        hats = np.array([np.interp(position / magnified, basis.radius, row) for row in np.eye(rings)]).T
        row = dose[int(at), :].copy()
        energies = by_energy[int(at)]
        part = open_part[:, np.newaxis] * (energies[np.newaxis, :, np.newaxis] * hats[:, np.newaxis, :]).reshape(
            len(position), focal
        )
        profile[number, :, :, :focal] = part
        profile[number, :, :, focal:] = open_part[:, np.newaxis] * row[focal:]
    # Two equal batches: no noise.
    return Response(
        field=jaws,
        setup=setup,
        depth=depth,
        depth_dose=np.stack([dose, dose]),
        position=position,
        profile=np.stack([profile, profile]),
        nominal_photons=np.array([1.0, 1.0]),
    )


def made_set(basis: SourceBasis, fields: tuple[JawField, ...]) -> ResponseSet:
    """Fields at SSD 1000 mm with three sizes of the focal spot."""
    return ResponseSet(
        basis,
        {
            (jaws, SETUP.source_surface_distance, scale): made_response(basis, jaws, spot_scale=scale)
            for jaws in fields
            for scale in (0.6, 1.0, 1.6)
        },
    )
