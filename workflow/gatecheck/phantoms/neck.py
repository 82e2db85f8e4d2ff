"""A neck with a spinal cord tumour at C6-7, as analytic solids.

Sizes are those of an adult: vertebral body about 26 x 17 mm, canal 23 x 16 mm, cord 8-12 mm wide and
7-8 mm deep, trachea 17 mm. CT numbers are typical of a 120 kV scan. The frame is DICOM LPS, head first
supine; the midline is x = 0 and the tumour's centre lies at z = `TUMOUR_CENTRE[2]`.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from gatecheck.phantoms.solids import Raster, Section, Sections, Solid

FloatArray = npt.NDArray[np.float64]

RASTER = Raster(size=(200, 180, 140), spacing=(1.0, 1.0, 1.0), origin=(-99.5, -229.5, -44.5))

# Where the cord's axis crosses the plane of the tumour's centre.
CORD_CENTRE = (0.0, -140.0, 25.0)

# 1.6 mm to the left (+x): 4/3 pi a b c = 0.300 ml.
TUMOUR_CENTRE = (1.6, -140.0, 25.0)
TUMOUR_SEMI_AXES = (3.4, 3.1, 6.8)

_RADIUS_OF_LORDOSIS = 300.0
_VERTEBRAL_PITCH = 18.0
_HALF_HEIGHT_OF_BODY = 6.5
_CORTICAL_THICKNESS = 1.5
_ENDPLATE_THICKNESS = 1.0

SKIN, FAT, MUSCLE = 40.0, -95.0, 55.0
CARTILAGE, TRACHEAL_AIR, OESOPHAGEAL_WALL, THYROID, BLOOD = 120.0, -990.0, 35.0, 130.0, 45.0
CORTICAL_BONE, CANCELLOUS_BONE, DISC = 1050.0, 280.0, 90.0
CEREBROSPINAL_FLUID, CORD, TUMOUR = 8.0, 36.0, 44.0


def spine_y(z: float) -> float:
    """y of the cord's axis: a mild lordosis, the middle of the neck furthest in front."""
    return CORD_CENTRE[1] + (z - CORD_CENTRE[2]) ** 2 / (2 * _RADIUS_OF_LORDOSIS)


def anatomy() -> tuple[Solid, ...]:
    """All bodies, in the order in which they replace each other."""
    return (
        Solid("skin", SKIN, body),
        Solid("subcutaneous fat", FAT, _beneath_skin(2.0)),
        Solid("muscle", MUSCLE, _beneath_skin(6.0)),
        Solid("fat behind the neck", FAT, _nuchal_fat),
        Solid("vessels", BLOOD, _vessels),
        Solid("thyroid", THYROID, _thyroid),
        Solid("trachea wall", CARTILAGE, _trachea_wall),
        Solid("trachea", TRACHEAL_AIR, trachea),
        Solid("oesophagus", OESOPHAGEAL_WALL, oesophagus),
        Solid("discs", DISC, vertebral_column),
        Solid("cortical bone of the processes", CORTICAL_BONE, _processes),
        Solid("cancellous bone of the processes", CANCELLOUS_BONE, _processes_within),
        Solid("cortical bone of the arches", CORTICAL_BONE, _arches),
        Solid("cancellous bone of the arches", CANCELLOUS_BONE, _arches_within),
        Solid("cortical bone round the canal", CORTICAL_BONE, _shell_of_canal),
        Solid("vertebral bodies' shell", CORTICAL_BONE, vertebral_bodies),
        Solid("vertebral bodies within", CANCELLOUS_BONE, _vertebral_bodies_within),
        Solid("canal", CEREBROSPINAL_FLUID, spinal_canal),
        Solid("cord", CORD, spinal_cord),
        Solid("tumour", TUMOUR, tumour),
    )


def body(z: float) -> tuple[Section, ...]:
    """The outline: wider towards the shoulders."""
    shoulders = 1.0 / (1.0 + math.exp((z - CORD_CENTRE[2] + 38.0) / 9.0))
    return (Section((0.0, -146.0), (60.0 + 26.0 * shoulders, 57.0 + 6.0 * shoulders), 2.2),)


def spinal_canal(z: float) -> tuple[Section, ...]:
    return (Section((0.0, spine_y(z)), (11.5, 8.0)),)


def spinal_cord(z: float) -> tuple[Section, ...]:
    """Swollen by the tumour to 11.8 mm, tapering to 9 mm towards the thorax and 10 mm towards the head."""
    level = z - CORD_CENTRE[2]
    taper = 4.5 + 0.5 / (1.0 + math.exp(-level / 10.0))
    swelling = math.exp(-0.5 * (level / 14.0) ** 2)
    return (Section((0.0, spine_y(z)), (taper + (5.9 - 4.75) * swelling, 3.6 + 0.6 * swelling)),)


def spinal_cord_planning_risk_volume(z: float) -> tuple[Section, ...]:
    """The cord with a margin of 1 mm, the accuracy of the setup."""
    return _grown(spinal_cord(z), 1.0)


def tumour(z: float) -> tuple[Section, ...]:
    level = (z - TUMOUR_CENTRE[2]) / TUMOUR_SEMI_AXES[2]
    if abs(level) >= 1.0:
        return ()
    scale = math.sqrt(1.0 - level**2)
    return (Section(TUMOUR_CENTRE[:2], (TUMOUR_SEMI_AXES[0] * scale, TUMOUR_SEMI_AXES[1] * scale)),)


def tumour_surface(rings: int = 24, points: int = 48) -> FloatArray:
    """Points on the tumour's surface, shape (n, 3), LPS mm."""
    polar = np.linspace(0.0, np.pi, rings)[:, np.newaxis]
    azimuth = 2 * np.pi * np.arange(points) / points
    unit = np.stack(
        np.broadcast_arrays(np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)), axis=-1
    )
    surface: FloatArray = unit.reshape(-1, 3) * np.array(TUMOUR_SEMI_AXES) + np.array(TUMOUR_CENTRE)
    return surface


def trachea(z: float) -> tuple[Section, ...]:
    return (Section((0.0, spine_y(z) - 46.0), (8.5, 8.0)),)


def oesophagus(z: float) -> tuple[Section, ...]:
    return (Section((2.0, spine_y(z) - 32.0), (8.0, 4.0)),)


def vertebral_column(z: float) -> tuple[Section, ...]:
    """Bodies and discs."""
    return (Section((0.0, spine_y(z) - 17.5), (13.0, 8.5), 2.5),)


def vertebral_bodies(z: float) -> tuple[Section, ...]:
    return vertebral_column(z) if abs(_height_in_vertebra(z)) <= _HALF_HEIGHT_OF_BODY else ()


def _vertebral_bodies_within(z: float) -> tuple[Section, ...]:
    if abs(_height_in_vertebra(z)) > _HALF_HEIGHT_OF_BODY - _ENDPLATE_THICKNESS:
        return ()
    return _grown(vertebral_bodies(z), -_CORTICAL_THICKNESS)


def _arches(z: float) -> tuple[Section, ...]:
    """Pedicles and laminae: a ring round the canal, of which the canal and the body leave the rest."""
    if abs(_height_in_vertebra(z)) > 5.5:
        return ()
    return (Section((0.0, spine_y(z) + 1.0), (17.5, 13.0)),)


def _arches_within(z: float) -> tuple[Section, ...]:
    if abs(_height_in_vertebra(z)) > 5.5 - _ENDPLATE_THICKNESS:
        return ()
    return _grown(_arches(z), -_CORTICAL_THICKNESS)


def _shell_of_canal(z: float) -> tuple[Section, ...]:
    return _grown(spinal_canal(z), 1.2) if _arches(z) else ()


def _processes(z: float) -> tuple[Section, ...]:
    """Lateral masses with transverse processes, and the spinous process, which points down and back."""
    sections: list[Section] = []
    height = _height_in_vertebra(z)
    if abs(height) <= 5.0:
        sections += [Section((side * 21.0, spine_y(z) - 3.0), (7.5, 6.0), 2.3) for side in (-1, 1)]
    spinous = _spinous_process(z, height)
    if spinous is not None:
        sections.append(spinous)
    return tuple(sections)


def _processes_within(z: float) -> tuple[Section, ...]:
    return _grown(_processes(z), -_CORTICAL_THICKNESS)


def _spinous_process(z: float, height: float) -> Section | None:
    """A bar 7 mm wide and 8 mm high that falls by 0.35 mm for each mm from 12 to 38 mm behind the cord."""
    fall, half_height = 0.35, 4.0
    nearest, furthest = 12.0, 38.0
    start = max(nearest, nearest + (-height - half_height) / fall)
    end = min(furthest, nearest + (-height + half_height) / fall)
    if end - start < 2 * _CORTICAL_THICKNESS:
        return None
    return Section((0.0, spine_y(z) + 0.5 * (start + end)), (3.5, 0.5 * (end - start)), 4.0)


def _nuchal_fat(z: float) -> tuple[Section, ...]:
    """A thin sheet in the midline between the neck's muscles, in front of the skin."""
    return (Section((0.0, -101.0), (1.5, 7.0)),)


def _vessels(z: float) -> tuple[Section, ...]:
    y = spine_y(z) - 34.0
    carotids = tuple(Section((side * 25.0, y), (3.5, 3.5)) for side in (-1, 1))
    jugulars = tuple(Section((side * 32.0, y + 3.0), (5.5, 4.5)) for side in (-1, 1))
    return carotids + jugulars


def _thyroid(z: float) -> tuple[Section, ...]:
    level = (z - CORD_CENTRE[2] + 4.0) / 20.0
    if abs(level) >= 1.0:
        return ()
    scale = math.sqrt(1.0 - level**2)
    return tuple(Section((side * 15.0, spine_y(z) - 43.0), (7.0 * scale, 9.0 * scale)) for side in (-1, 1))


def _trachea_wall(z: float) -> tuple[Section, ...]:
    return _grown(trachea(z), 1.7)


def _beneath_skin(depth: float) -> Sections:
    return lambda z: _grown(body(z), -depth)


def _height_in_vertebra(z: float) -> float:
    """Distance above the middle of the nearest vertebra; C6-7, the disc, is at the tumour's centre."""
    height = z - CORD_CENTRE[2] - _VERTEBRAL_PITCH / 2
    return (height + _VERTEBRAL_PITCH / 2) % _VERTEBRAL_PITCH - _VERTEBRAL_PITCH / 2


def _grown(sections: tuple[Section, ...], margin: float) -> tuple[Section, ...]:
    grown = (section.grown(margin) for section in sections)
    return tuple(section for section in grown if section is not None)
