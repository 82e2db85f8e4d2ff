"""A neck with a tumour in its spinal cord, as analytic solids; its sizes are data (`Neck`).

CT numbers are typical of a 120 kV scan. The frame is DICOM LPS, head first supine; the midline is x = 0.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from gatecheck.phantoms.solids import Raster, Section, Sections, Solid

FloatArray = npt.NDArray[np.float64]

_CORTICAL_THICKNESS = 1.5
_ENDPLATE_THICKNESS = 1.0

SKIN, FAT, MUSCLE = 40.0, -95.0, 55.0
CARTILAGE, AIRWAY_AIR, OESOPHAGEAL_WALL, THYROID, BLOOD = 120.0, -990.0, 35.0, 130.0, 45.0
CORTICAL_BONE, CANCELLOUS_BONE, DISC = 1050.0, 280.0, 90.0
CEREBROSPINAL_FLUID, CORD, TUMOUR = 8.0, 36.0, 44.0

Pair = tuple[float, float]
Vector = tuple[float, float, float]


class Ellipse(BaseModel):
    """An ellipse across the neck, its centre told from the cord's axis, mm."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    offset: Pair
    semi_axes: Pair


class Outline(BaseModel):
    """The skin: a superellipse that widens towards the shoulders or the head."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    centre_y: float
    semi_axes: Pair
    more: Pair = Field(description="semi-axes that are added at the wide end")
    level: float = Field(description="mm above the tumour, where half of it is added")
    length: float = Field(description="of the change; negative: it widens upwards")


class Cord(BaseModel):
    """The cord, swollen by the tumour; semi-axes in mm."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    half_width_below: float
    half_width_above: float
    half_depth: float
    swelling: Pair
    swelling_length: float


class Neck(BaseModel):
    """Sizes and places of what is in the neck, mm.

    `level` below is height above the plane of the tumour's centre.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: tuple[int, int, int] = Field(description="of the CT, voxels of 1 mm")
    origin: Vector = Field(description="centre of its first voxel")
    cord_centre: Vector = Field(description="where the cord's axis crosses the plane of the tumour's centre")
    tumour_offset: Pair = Field(description="of the tumour's centre from the cord's axis; +x is the patient's left")
    tumour_semi_axes: Vector
    outline: Outline
    cord: Cord
    canal: Pair
    radius_of_lordosis: float
    vertebral_pitch: float
    vertebral_half_height: float
    disc_level: float = Field(description="of the middle of a disc")
    vertebra: Ellipse
    airway: Ellipse
    oesophagus: Ellipse | None
    thyroid: Ellipse | None = Field(description="left lobe at its middle, 4 mm below the tumour's level")
    nuchal_fat_y: float

    @property
    def raster(self) -> Raster:
        """The CT's grid."""
        return Raster(self.size, (1.0, 1.0, 1.0), self.origin)

    @property
    def tumour_centre(self) -> Vector:
        """LPS mm."""
        x, y, z = self.cord_centre
        return x + self.tumour_offset[0], y + self.tumour_offset[1], z

    @property
    def tumour_volume(self) -> float:
        """In ml."""
        return 4.0 / 3.0 * math.pi * math.prod(self.tumour_semi_axes) / 1000.0

    def anatomy(self) -> tuple[Solid, ...]:
        """All bodies, in the order in which they replace each other."""
        return (
            Solid("skin", SKIN, self.body),
            Solid("subcutaneous fat", FAT, self._beneath_skin(2.0)),
            Solid("muscle", MUSCLE, self._beneath_skin(6.0)),
            Solid("fat behind the neck", FAT, self._nuchal_fat),
            Solid("vessels", BLOOD, self._vessels),
            Solid("thyroid", THYROID, self._thyroid),
            Solid("airway's wall", CARTILAGE, self._airway_wall),
            Solid("airway", AIRWAY_AIR, self.airway_lumen),
            Solid("oesophagus", OESOPHAGEAL_WALL, self.oesophageal),
            Solid("discs", DISC, self.vertebral_column),
            Solid("cortical bone of the processes", CORTICAL_BONE, self._processes),
            Solid("cancellous bone of the processes", CANCELLOUS_BONE, self._processes_within),
            Solid("cortical bone of the arches", CORTICAL_BONE, self._arches),
            Solid("cancellous bone of the arches", CANCELLOUS_BONE, self._arches_within),
            Solid("cortical bone round the canal", CORTICAL_BONE, self._shell_of_canal),
            Solid("vertebral bodies' shell", CORTICAL_BONE, self.vertebral_bodies),
            Solid("vertebral bodies within", CANCELLOUS_BONE, self._vertebral_bodies_within),
            Solid("canal", CEREBROSPINAL_FLUID, self.spinal_canal),
            Solid("cord", CORD, self.spinal_cord),
            Solid("tumour", TUMOUR, self.tumour),
        )

    def spine_y(self, z: float) -> float:
        """y of the cord's axis: a mild lordosis, furthest in front at the tumour."""
        return self.cord_centre[1] + self._level(z) ** 2 / (2 * self.radius_of_lordosis)

    def body(self, z: float) -> tuple[Section, ...]:
        """The outline."""
        skin = self.outline
        share = 1.0 / (1.0 + math.exp((self._level(z) - skin.level) / skin.length))
        axes = skin.semi_axes[0] + skin.more[0] * share, skin.semi_axes[1] + skin.more[1] * share
        return (Section((0.0, skin.centre_y), axes, 2.2),)

    def spinal_canal(self, z: float) -> tuple[Section, ...]:
        """The canal."""
        return (Section((0.0, self.spine_y(z)), self.canal),)

    def spinal_cord(self, z: float) -> tuple[Section, ...]:
        """The cord: another width below than above, and the swelling round the tumour."""
        cord, level = self.cord, self._level(z)
        above = 1.0 / (1.0 + math.exp(-level / 10.0))
        half_width = cord.half_width_below + (cord.half_width_above - cord.half_width_below) * above
        swelling = math.exp(-0.5 * (level / cord.swelling_length) ** 2)
        axes = half_width + cord.swelling[0] * swelling, cord.half_depth + cord.swelling[1] * swelling
        return (Section((0.0, self.spine_y(z)), axes),)

    def spinal_cord_planning_risk_volume(self, z: float) -> tuple[Section, ...]:
        """The cord with a margin of 1 mm, the accuracy of the setup."""
        return _grown(self.spinal_cord(z), 1.0)

    def tumour(self, z: float) -> tuple[Section, ...]:
        """The tumour, an ellipsoid."""
        x, y, centre = self.tumour_centre
        a, b, c = self.tumour_semi_axes
        level = (z - centre) / c
        if abs(level) >= 1.0:
            return ()
        scale = math.sqrt(1.0 - level**2)
        return (Section((x, y), (a * scale, b * scale)),)

    def tumour_surface(self, rings: int = 24, points: int = 48) -> FloatArray:
        """Points on the tumour's surface, shape (n, 3), LPS mm."""
        polar = np.linspace(0.0, np.pi, rings)[:, np.newaxis]
        azimuth = 2 * np.pi * np.arange(points) / points
        unit = np.stack(
            np.broadcast_arrays(np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)),
            axis=-1,
        )
        surface: FloatArray = unit.reshape(-1, 3) * np.array(self.tumour_semi_axes) + np.array(self.tumour_centre)
        return surface

    def airway_lumen(self, z: float) -> tuple[Section, ...]:
        """Air in the trachea or pharynx."""
        return (self._placed(self.airway, z),)

    def oesophageal(self, z: float) -> tuple[Section, ...]:
        """The oesophagus, where there is one."""
        return () if self.oesophagus is None else (self._placed(self.oesophagus, z),)

    def vertebral_column(self, z: float) -> tuple[Section, ...]:
        """Bodies and discs."""
        placed = self._placed(self.vertebra, z)
        return (Section(placed.centre, placed.semi_axes, 2.5),)

    def vertebral_bodies(self, z: float) -> tuple[Section, ...]:
        """Bodies without discs."""
        return self.vertebral_column(z) if abs(self._height_in_vertebra(z)) <= self.vertebral_half_height else ()

    def _placed(self, ellipse: Ellipse, z: float) -> Section:
        return Section((ellipse.offset[0], self.spine_y(z) + ellipse.offset[1]), ellipse.semi_axes)

    def _level(self, z: float) -> float:
        return z - self.cord_centre[2]

    def _vertebral_bodies_within(self, z: float) -> tuple[Section, ...]:
        if abs(self._height_in_vertebra(z)) > self.vertebral_half_height - _ENDPLATE_THICKNESS:
            return ()
        return _grown(self.vertebral_bodies(z), -_CORTICAL_THICKNESS)

    def _arches(self, z: float) -> tuple[Section, ...]:
        """Pedicles and laminae: a ring round the canal, of which the canal and the body leave the rest."""
        if abs(self._height_in_vertebra(z)) > 5.5:
            return ()
        return (Section((0.0, self.spine_y(z) + 1.0), (17.5, 13.0)),)

    def _arches_within(self, z: float) -> tuple[Section, ...]:
        if abs(self._height_in_vertebra(z)) > 5.5 - _ENDPLATE_THICKNESS:
            return ()
        return _grown(self._arches(z), -_CORTICAL_THICKNESS)

    def _shell_of_canal(self, z: float) -> tuple[Section, ...]:
        return _grown(self.spinal_canal(z), 1.2) if self._arches(z) else ()

    def _processes(self, z: float) -> tuple[Section, ...]:
        """Lateral masses with transverse processes, and the spinous process, which points down and back."""
        sections: list[Section] = []
        height = self._height_in_vertebra(z)
        if abs(height) <= 5.0:
            sections += [Section((side * 21.0, self.spine_y(z) - 3.0), (7.5, 6.0), 2.3) for side in (-1, 1)]
        spinous = self._spinous_process(z, height)
        if spinous is not None:
            sections.append(spinous)
        return tuple(sections)

    def _processes_within(self, z: float) -> tuple[Section, ...]:
        return _grown(self._processes(z), -_CORTICAL_THICKNESS)

    def _spinous_process(self, z: float, height: float) -> Section | None:
        """A bar 7 mm wide and 8 mm high that falls by 0.35 mm for each mm from 12 to 38 mm behind the cord."""
        fall, half_height = 0.35, 4.0
        nearest, furthest = 12.0, 38.0
        start = max(nearest, nearest + (-height - half_height) / fall)
        end = min(furthest, nearest + (-height + half_height) / fall)
        if end - start < 2 * _CORTICAL_THICKNESS:
            return None
        return Section((0.0, self.spine_y(z) + 0.5 * (start + end)), (3.5, 0.5 * (end - start)), 4.0)

    def _nuchal_fat(self, z: float) -> tuple[Section, ...]:
        """A thin sheet in the midline between the neck's muscles, in front of the skin."""
        return (Section((0.0, self.nuchal_fat_y), (1.5, 7.0)),)

    def _vessels(self, z: float) -> tuple[Section, ...]:
        y = self.spine_y(z) - 34.0
        carotids = tuple(Section((side * 25.0, y), (3.5, 3.5)) for side in (-1, 1))
        jugulars = tuple(Section((side * 32.0, y + 3.0), (5.5, 4.5)) for side in (-1, 1))
        return carotids + jugulars

    def _thyroid(self, z: float) -> tuple[Section, ...]:
        """Two lobes, each an ellipsoid 40 mm high."""
        level = (self._level(z) + 4.0) / 20.0
        if self.thyroid is None or abs(level) >= 1.0:
            return ()
        scale = math.sqrt(1.0 - level**2)
        (x, y), (a, b) = self.thyroid.offset, self.thyroid.semi_axes
        return tuple(Section((side * x, self.spine_y(z) + y), (a * scale, b * scale)) for side in (-1, 1))

    def _airway_wall(self, z: float) -> tuple[Section, ...]:
        return _grown(self.airway_lumen(z), 1.7)

    def _beneath_skin(self, depth: float) -> Sections:
        return lambda z: _grown(self.body(z), -depth)

    def _height_in_vertebra(self, z: float) -> float:
        """Distance above the middle of the nearest vertebra."""
        above_disc = (self._level(z) - self.disc_level) % self.vertebral_pitch
        return above_disc - self.vertebral_pitch / 2


def _grown(sections: tuple[Section, ...], margin: float) -> tuple[Section, ...]:
    grown = (section.grown(margin) for section in sections)
    return tuple(section for section in grown if section is not None)
