"""The outline of the patient: its contour, or found in the CT where there is none."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import scipy.ndimage
import SimpleITK as sitk

BoolImage = npt.NDArray[np.bool_]

TISSUE_ABOVE = -350.0
"""CT number that tells skin and fat from air and mattress foam."""

THINNER_THAN_TABLE = 3.0
"""mm: what is thinner than twice this is taken away (shell of the table top, straps), then the patient's
own thin parts are put back as far as they lie within TOUCHING of what is left."""

TOUCHING = 5.0


def find_body(ct_zyx: npt.NDArray[np.number], spacing: tuple[float, float, float]) -> BoolImage:
    """Find the patient in a CT: the largest piece of tissue, without the table, with lungs and gas.

    Threshold, opening in the slice, largest connected piece, holes filled slice by slice. Arms that
    touch the trunk close in the air between them; a thick table top that touches the patient stays.

    Parameters
    ----------
    ct_zyx : ndarray of shape (nz, ny, nx)
        CT numbers.
    spacing : (x, y, z)
        mm.

    Returns
    -------
    ndarray of shape (nz, ny, nx), bool; all False where there is no tissue
    """
    tissue = ct_zyx > TISSUE_ABOVE
    pieces = _pieces(_eroded(tissue, THINNER_THAN_TABLE, spacing))
    body = tissue & _dilated(pieces == 1, THINNER_THAN_TABLE + TOUCHING, spacing)
    # A chest wall as thin as a table top is gone by now, and the lung behind it open: take it as a hole of the
    # unopened tissue, with the wall round it and the pieces of the patient that hang on that wall alone.
    cavities = _holes_within(tissue, body)
    wall = tissue & _dilated(cavities, THINNER_THAN_TABLE + TOUCHING, spacing)
    on_wall = np.isin(pieces, np.setdiff1d(pieces[wall], [0]))
    body |= tissue & _dilated(on_wall, THINNER_THAN_TABLE + TOUCHING, spacing)
    return fill_holes(body | cavities | wall)


def _holes_within(tissue_zyx: BoolImage, body_zyx: BoolImage) -> BoolImage:
    """Holes of the tissue, slice by slice, whose rim is mostly body (and not the shell of a table top)."""
    within = np.zeros_like(tissue_zyx)
    for z, holes in enumerate(fill_holes(tissue_zyx) & ~tissue_zyx):
        labels, number = scipy.ndimage.label(holes)
        rim, rim_of_body = np.zeros(number + 1), np.zeros(number + 1)
        for axis in (0, 1):
            for step in (-1, 1):
                # Holes do not reach the border of the image, so that nothing wraps round.
                at_rim = holes & ~np.roll(holes, step, axis)
                beside = np.roll(body_zyx[z], step, axis)
                rim += np.bincount(labels[at_rim], minlength=number + 1)
                rim_of_body += np.bincount(labels[at_rim & beside], minlength=number + 1)
        chosen = rim_of_body > 0.5 * rim
        chosen[0] = False
        within[z] = chosen[labels]
    return within


def _radius(millimetres: float, spacing: tuple[float, float, float]) -> tuple[int, int, int]:
    return (max(1, round(millimetres / spacing[0])), max(1, round(millimetres / spacing[1])), 0)


def _eroded(mask_zyx: BoolImage, millimetres: float, spacing: tuple[float, float, float]) -> sitk.Image:
    image = sitk.GetImageFromArray(mask_zyx.astype(np.uint8))
    eroded: sitk.Image = sitk.BinaryErode(image, _radius(millimetres, spacing), sitk.sitkBall, 0.0, 1.0, False)
    return eroded


def _dilated(mask_zyx: BoolImage, millimetres: float, spacing: tuple[float, float, float]) -> BoolImage:
    image = sitk.GetImageFromArray(mask_zyx.astype(np.uint8))
    dilated: BoolImage = sitk.GetArrayFromImage(
        sitk.BinaryDilate(image, _radius(millimetres, spacing), sitk.sitkBall)
    ).astype(bool)
    return dilated


def _pieces(mask: sitk.Image) -> npt.NDArray[np.uint32]:
    """Connected pieces, numbered from 1 by falling size; 0 is background."""
    pieces: npt.NDArray[np.uint32] = sitk.GetArrayFromImage(
        sitk.RelabelComponent(sitk.ConnectedComponent(mask), sortByObjectSize=True)
    )
    return pieces


def fill_holes(mask_zyx: BoolImage) -> BoolImage:
    """Fill, slice by slice, what cannot be reached from the border of the image."""
    filled = np.empty_like(mask_zyx)
    for z, plane in enumerate(mask_zyx):
        # A frame of background joins all that is outside, where the body touches the border.
        background, _ = scipy.ndimage.label(~np.pad(plane, 1))
        filled[z] = (background != background[0, 0])[1:-1, 1:-1]
    return filled


def hollow_fraction(inside_zyx: npt.NDArray[np.floating]) -> float:
    """Part of the filled outline that a mask leaves out: near 0 for a body, near 1 for a shell of skin."""
    mask: BoolImage = inside_zyx > 0.5
    filled = int(fill_holes(mask).sum())
    return 1 - int(mask.sum()) / filled if filled else math.nan


def sides_touching_border(mask_zyx: BoolImage) -> tuple[str, ...]:
    """Sides of the field of view (not of the scan's length) that a body reaches: it may be cut off there."""
    sides = {
        "right": mask_zyx[:, :, 0],
        "left": mask_zyx[:, :, -1],
        "anterior": mask_zyx[:, 0, :],
        "posterior": mask_zyx[:, -1, :],
    }
    return tuple(side for side, plane in sides.items() if plane.any())
