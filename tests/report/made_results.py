"""A small results folder, made by the rooms' own models: no DICOM, no GATE."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from made_comparisons import MadeOf, make_comparisons
from made_volume import CONVERGENCE, make_volume

from gatecheck.case.model import Beam, Case, CaseWarning, ControlPoint, Image, Structure, TpsDose
from gatecheck.compare.model import Comparison, DoseMetrics, DvhCurve, Metric, StructureComparison
from gatecheck.config import ReportConfig
from gatecheck.delivery.model import BeamTimeline, Delivery
from gatecheck.delivery.storage import write_delivery
from gatecheck.dose.model import MergeResult
from gatecheck.files import image_from_zyx, read_json, sha256_of_file, sha256_of_json, write_image, write_json
from gatecheck.layout import CaseLayout
from gatecheck.patient.model import Grid, Material, PatientModel, VoxelBox
from gatecheck.report.html import write_report
from gatecheck.report.summary import Summary
from gatecheck.transport.model import CalibrationResult, Engine

FloatArray = npt.NDArray[np.float64]
AWKWARD_NAME = '<script>alert("1")</script> & $x_1$'


@dataclass(frozen=True)
class Wanted:
    """What the made case is like."""

    tps: bool = True
    clinical: bool = False
    isocentres: int = 1
    beams: int = 2
    organs: int = 2
    prescription_gy: float | None = 40.0
    isocentre: tuple[float, float, float] = (10.0, -8.0, 30.0)
    beams_aim_at: tuple[float, float, float] | None = None  # instead of the isocentre, where the dose is
    ct_size: tuple[int, int, int] = (120, 100, 50)
    ct_spacing: tuple[float, float, float] = (3.0, 3.0, 3.0)
    dose_size: tuple[int, int, int] = (80, 60, 36)
    dose_spacing: tuple[float, float, float] = (4.0, 4.0, 4.0)
    data_set: str = "embedded set 1 (xraylib, theory)"
    noise_hu: float = 15.0
    plan_label: str = ""
    tumours: tuple[str, ...] = ("GTVp",)  # compared at their surfaces, where there is a prescription
    cord: str | None = "SPINALCORD"
    cord_limit_gy: float | None = 36.0
    followed: tuple[str, ...] = ("GTVp",)  # through setup errors
    is_setup_noisy: bool = False
    earlier_course: bool = False
    setup_check: str = ""  # "fresh" or "stale"


@dataclass(frozen=True)
class MadeResults:
    """Where the made case lies, and what it was made from."""

    layout: CaseLayout
    calibration: Path
    case: Case
    comparison: Comparison


@dataclass(frozen=True)
class _Lattice:
    """An axis-aligned grid round the origin, LPS mm."""

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]

    @property
    def origin(self) -> tuple[float, float, float]:
        x, y, z = (-(n - 1) * s / 2 for n, s in zip(self.size, self.spacing, strict=True))
        return x, y, z

    def coordinates_zyx(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """x, y and z of every voxel, each broadcastable to (nz, ny, nx)."""
        x, y, z = (o + s * np.arange(n) for o, s, n in zip(self.origin, self.spacing, self.size, strict=True))
        return x[None, None, :], y[None, :, None], z[:, None, None]

    def image(self, array_zyx: npt.NDArray[np.generic]) -> sitk.Image:
        return image_from_zyx(array_zyx, origin=self.origin, spacing=self.spacing)


def make_results(folder: Path, wanted: Wanted | None = None) -> MadeResults:
    """Make results/<case> as the rooms before `report` leave it."""
    wanted = wanted or Wanted()
    layout = CaseLayout(folder)
    ct, dose = _Lattice(wanted.ct_size, wanted.ct_spacing), _Lattice(wanted.dose_size, wanted.dose_spacing)
    case = _make_case(layout, wanted, ct, dose)
    write_delivery(_delivery(case), layout.delivery)
    _make_patient(layout, dose)
    _make_dose(layout, wanted, case, dose)
    comparison = _make_comparison(layout, wanted, case, ct, dose)
    make_comparisons(layout.compare, made_of(layout, wanted, case))
    make_volume(layout, tps=wanted.tps, prescription_gy=wanted.prescription_gy)
    calibration = _make_calibration(layout, wanted)
    return MadeResults(layout, calibration, case, comparison)


def made_of(layout: CaseLayout, wanted: Wanted, case: Case) -> MadeOf:
    """What the comparisons of a made case are of."""
    return MadeOf(
        case=layout.case / "case.json",
        merge=layout.dose / "merge.json",
        dose=layout.dose / "mc_dose.mha",
        sigma=layout.dose / "mc_sigma.mha",
        tps=wanted.tps,
        tumours=wanted.tumours if wanted.prescription_gy else (),
        cord=wanted.cord,
        cord_limit_gy=wanted.cord_limit_gy,
        prescription_gy=wanted.prescription_gy or 0.0,
        fractions=case.fractions,
        followed=wanted.followed,
        is_noisy=wanted.is_setup_noisy,
        earlier_course=wanted.earlier_course,
        setup_check=wanted.setup_check,
    )


@dataclass(frozen=True)
class Written:
    """A report and what it was made from."""

    made: MadeResults
    html: str
    summary: Summary


def write(folder: Path, wanted: Wanted, settings: ReportConfig | None = None) -> Written:
    """Make a results folder and its report."""
    made = make_results(folder, wanted)
    path = write_report(folder, made.calibration, settings or ReportConfig())
    return Written(made, path.read_text(encoding="utf-8"), read_json(path.parent / "summary.json", Summary))


def _ball(lattice: _Lattice, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> FloatArray:
    """An ellipsoid as a partial-volume mask, soft over one voxel."""
    distance = np.sqrt(
        sum(((c - m) / r) ** 2 for c, m, r in zip(lattice.coordinates_zyx(), centre, radii, strict=True))
    )
    return np.clip(0.5 + (1 - distance) * min(radii) / max(lattice.spacing), 0, 1)


def _body(lattice: _Lattice) -> FloatArray:
    x, y, z = lattice.coordinates_zyx()
    return ((x / 140) ** 2 + (y / 100) ** 2 < 1) & (np.abs(z) < 1e6)


def _true_dose(lattice: _Lattice, wanted: Wanted) -> FloatArray:
    x, y, z = lattice.coordinates_zyx()
    a, b, c = wanted.isocentre
    along = np.exp(-(((x - a) / 45) ** 4) - ((y - b) / 35) ** 4 - ((z - c) / 22) ** 4)
    bath = 0.3 * np.exp(-(((x - a) / 110) ** 2) - ((y - b) / 80) ** 2 - ((z - c) / 26) ** 6)
    return 42.0 * np.maximum(along, bath) * _body(lattice)


def _masks(wanted: Wanted, ct: _Lattice) -> list[tuple[str, str, FloatArray | None]]:
    a, b, c = wanted.isocentre
    found: list[tuple[str, str, FloatArray | None]] = [
        ("BODY", "EXTERNAL", np.broadcast_to(_body(ct), ct.size[::-1]).astype(float)),
        ("PTV4140", "PTV", _ball(ct, (a, b, c), (34, 26, 16))),
        ("GTVp", "GTV", _ball(ct, (a, b, c), (16, 13, 9))),
        ("SPINALCORD", "ORGAN", _ball(ct, (0, 60, 0), (8, 8, 400))),
        ("PTV4140", "PTV", _ball(ct, (a + 8, b, c), (12, 10, 8))),
        (AWKWARD_NAME, "ORGAN", _ball(ct, (-70, -10, 0), (38, 55, 60))),
        ("EMPTY", "ORGAN", None),
    ]
    for index in range(wanted.organs):
        centre = (60 - 15 * index % 120, -20.0 + 6 * index, 4.0 * index)
        found.append((f"Organ {index + 1}", "ORGAN", _ball(ct, centre, (20, 20, 25))))
    return found


def _make_case(layout: CaseLayout, wanted: Wanted, ct: _Lattice, dose: _Lattice) -> Case:
    body = _body(ct)
    numbers = np.where(body, 30.0, -1000.0) + np.zeros(ct.size[::-1])
    numbers = np.where(_ball(ct, (-70, -10, 0), (38, 55, 60)) > 0.5, -750.0, numbers)
    numbers = np.where(_ball(ct, (0, 60, 0), (22, 18, 400)) > 0.5, 500.0, numbers)
    numbers = np.where(_ball(ct, (0, 60, 0), (8, 8, 400)) > 0.5, 40.0, numbers)
    numbers += np.random.default_rng(1).normal(0, wanted.noise_hu, numbers.shape)
    write_image(layout.case / "ct.mha", ct.image(numbers.astype(np.int16)))
    structures = []
    voxel_ml = float(np.prod(ct.spacing)) / 1000
    for number, (name, kind, mask) in enumerate(_masks(wanted, ct), 1):
        file = f"structures/{number:02d}.mha"
        if mask is not None:
            write_image(layout.case / file, _cropped(ct.image(mask.astype(np.float32)), mask))
        volume = 0.0 if mask is None else float(mask.sum()) * voxel_ml
        structures.append(
            Structure(
                number=number,
                name=name,
                interpreted_type=kind,
                volume_ml=volume,
                mask=None if mask is None else file,
            )
        )
    tps = None
    if wanted.tps:
        write_image(layout.case / "tps_dose.mha", dose.image(_true_dose(dose, wanted).astype(np.float32)))
        tps = TpsDose(
            image=_described(layout.case, "tps_dose.mha", dose),
            maximum_gy=42.0,
            summation_type="PLAN",
            dose_type="PHYSICAL",
        )
    case = Case(
        case_id="case-0123abcd",
        content_sha256="0" * 64,
        plan_label=wanted.plan_label,
        patient_position="HFS",
        fractions=20,
        target_prescription_gy=wanted.prescription_gy,
        ct=_described(layout.case, "ct.mha", ct),
        structures=tuple(structures),
        beams=tuple(_beam(wanted, index) for index in range(wanted.beams)),
        tps_dose=tps,
        warnings=(
            CaseWarning(
                code="rtstruct-not-the-one-of-the-plan",
                message="The plan refers to another RTSTRUCT than the one found; the only one in the folder was used.",
            ),
        ),
        files={"RTPLAN": "1" * 64, "RTSTRUCT": "2" * 64},
    )
    write_json(layout.case / "case.json", case)
    return case


def _cropped(image: sitk.Image, mask_zyx: FloatArray) -> sitk.Image:
    inside = np.argwhere(mask_zyx > 0)
    low, high = inside.min(axis=0)[::-1], inside.max(axis=0)[::-1]
    return sitk.RegionOfInterest(image, [int(n) for n in high - low + 1], [int(n) for n in low])


def _described(folder: Path, file: str, lattice: _Lattice) -> Image:
    return Image(
        file=file,
        sha256=sha256_of_file(folder / file),
        size=lattice.size,
        spacing=lattice.spacing,
        origin=lattice.origin,
    )


def _beam(wanted: Wanted, index: int) -> Beam:
    arc = index == 0
    x, y, z = wanted.beams_aim_at or wanted.isocentre
    isocentre = (x + 40.0 * (index % wanted.isocentres), y, z)
    leaves = (tuple([-20.0] * 60), tuple([20.0] * 60))

    def at(weight: float, gantry: float, x1: float) -> ControlPoint:
        return ControlPoint(
            cumulative_meterset_weight=weight,
            gantry_angle=gantry,
            gantry_rotation_direction="CW" if arc else "NONE",
            collimator_angle=10.0,
            couch_angle=0.0,
            jaw_x=(x1, 45.0),
            jaw_y=(-30.0, 30.0),
            leaf_positions=leaves,
            isocentre=isocentre,
        )

    points = (at(0, 181.0, -45.0), at(1, 179.0, -40.0)) if arc else (at(0, 90.0, -45.0), at(1, 90.0, -45.0))
    return Beam(
        number=index + 1,
        name="Arc CW" if arc else f"Field {index + 1} <lat>",
        machine_name="TRUEBEAM",
        radiation_type="PHOTON",
        nominal_energy_mv=6,
        fluence_mode="STANDARD",
        beam_type="DYNAMIC" if arc else "STATIC",
        technique="vmat" if arc else "static",
        source_axis_distance=1000,
        meterset=312.25 + index,
        final_cumulative_meterset_weight=1,
        leaf_boundaries=tuple(np.linspace(-110, 110, 61).tolist()),
        control_points=points,
    )


def _delivery(case: Case) -> Delivery:
    return Delivery(
        beams=tuple(_timeline(beam) for beam in case.beams),
        patient_position="HFS",
        fractions=case.fractions,
        made_from_sha256=sha256_of_json(case.model_dump(mode="json")),
    )


def _timeline(beam: Beam) -> BeamTimeline:
    points = beam.control_points
    gantry = np.array([181.0, 539.0]) if beam.technique == "vmat" else np.array([90.0, 90.0])
    return BeamTimeline(
        number=beam.number,
        name=beam.name,
        nominal_energy_mv=6,
        fluence_mode="STANDARD",
        meterset=np.array([0.0, beam.meterset]),
        gantry=gantry,
        collimator=np.array([p.collimator_angle for p in points]),
        couch=np.array([p.couch_angle for p in points]),
        jaw_x=np.array([p.jaw_x for p in points]),
        jaw_y=np.array([p.jaw_y for p in points]),
        leaf_positions=np.array([p.leaf_positions for p in points]),
        leaf_boundaries=np.array(beam.leaf_boundaries),
        isocentre=np.array([p.isocentre for p in points]),
    )


def _make_patient(layout: CaseLayout, dose: _Lattice) -> None:
    body = np.broadcast_to(_body(dose), dose.size[::-1])
    write_image(layout.patient / "body.mha", dose.image(body.astype(np.uint8)))
    grid = Grid(size=dose.size, spacing=dose.spacing, origin=dose.origin)
    box = VoxelBox(name="coarse-1", role="coarse", labels="coarse-1.mha", sha256="3" * 64, **grid.model_dump())
    water = Material(label=0, name="water", density=1.0, mass_fractions={"H": 0.112, "O": 0.888})
    write_json(
        layout.patient / "patient.json",
        PatientModel(
            made_from={"case": sha256_of_file(layout.case / "case.json")},
            boxes=(box,),
            materials=(water,),
            joined_grid=grid,
            body_mask="body.mha",
            calibration="Schneider et al., Phys. Med. Biol. 45 (2000) 459",
            warnings=("No couch structure was kept.",),
        ),
    )


def engine(wanted: Wanted) -> Engine:
    return Engine(
        gatecheck="0.1.0",
        opengate="10.1.1",
        geant4="11.4.0",
        physics_list="G4EmStandardPhysics",
        data_set=wanted.data_set,
        data_set_kind="official" if wanted.clinical else "embedded",
        data_set_sha256="4" * 64,
        clinical=wanted.clinical,
        settings={"electron_production_cut_mm": "0.2", "apply_cuts": "false"},
    )


def _make_dose(layout: CaseLayout, wanted: Wanted, case: Case, dose: _Lattice) -> None:
    truth = _true_dose(dose, wanted)
    sigma = 0.025 * np.sqrt(truth * 42.0)
    noisy = truth + np.random.default_rng(2).normal(0, 1, truth.shape) * sigma
    write_image(layout.dose / "mc_dose.mha", dose.image(noisy.astype(np.float32)))
    write_image(layout.dose / "mc_sigma.mha", dose.image(sigma.astype(np.float32)))
    write_json(
        layout.dose / "merge.json",
        MergeResult(
            inputs_sha256="5" * 64,
            chunks=tuple(range(10)),
            chunk_sha256={},
            batches=10,
            histories=61_234_567,
            particles=4_321_000,
            nominal_photons=1e10,
            meterset_per_fraction=sum(beam.meterset for beam in case.beams),
            fractions=case.fractions,
            dose_to="medium",
            nominal_photons_per_mu=2.345e11,
            calibration_relative_sigma=0.0038,
            calibration_key_sha256="6" * 64,
            mean_relative_sigma=0.0249,
            fine_relative_sigma=0.0213,
            fine_voxels=4000,
            fine_above_gy=20.0,
            convergence=CONVERGENCE,
            target_relative_sigma=0.02,
            mean_relative_sigma_history=0.0247,
            voxels_above_half_maximum=4312,
            maximum_gy=float(noisy.max()),
            maximum_sigma_gy=0.8,
            maximum_gy_per_fraction=float(noisy.max()) / 25,
            engine=engine(wanted),
            seconds_of_chunks=2500.0,
            simulated_at=datetime.datetime(2026, 8, 1, 3, 30, tzinfo=datetime.UTC),
            peak_memory_mb=1400.0,
            warnings=() if wanted.clinical else (f"Not for clinical use: the Geant4 data are {wanted.data_set}.",),
        ),
    )


def _make_comparison(layout: CaseLayout, wanted: Wanted, case: Case, ct: _Lattice, dose: _Lattice) -> Comparison:
    truth = _true_dose(dose, wanted)
    mc = sitk.GetArrayFromImage(sitk.ReadImage(str(layout.dose / "mc_dose.mha"))).astype(float)
    if wanted.tps:
        write_image(layout.compare / "difference.mha", dose.image((mc - truth).astype(np.float32)))
    on_ct = {"mc": _on(ct, dose.image(mc)), "tps": _on(ct, dose.image(1.015 * truth))}
    structures = tuple(
        _compared(structure, mask, on_ct, wanted)
        for structure, (_, _, mask) in zip(case.structures, _masks(wanted, ct), strict=True)
    )
    comparison = Comparison(
        made_from={
            "case": sha256_of_file(layout.case / "case.json"),
            "patient": sha256_of_file(layout.patient / "patient.json"),
            "merge": sha256_of_file(layout.dose / "merge.json"),
            "mc_dose": sha256_of_file(layout.dose / "mc_dose.mha"),
        }
        | ({"tps_dose": case.tps_dose.image.sha256} if case.tps_dose else {}),
        structures=structures,
        has_tps_dose=wanted.tps,
    )
    write_json(layout.compare / "comparison.json", comparison)
    return comparison


def _on(ct: _Lattice, image: sitk.Image) -> FloatArray:
    grid = ct.image(np.zeros(ct.size[::-1], dtype=np.float32))
    return sitk.GetArrayFromImage(sitk.Resample(image, grid)).astype(float)


def _compared(
    structure: Structure, mask: FloatArray | None, on_ct: dict[str, FloatArray], wanted: Wanted
) -> StructureComparison:
    empty = mask is None
    curves = {} if empty else {which: _dvh(array, mask, which == "mc") for which, array in on_ct.items()}
    numbers = {} if empty else {which: _metrics(array, mask, which == "mc") for which, array in on_ct.items()}
    tps = wanted.tps and not empty
    return StructureComparison(
        name=structure.name,
        interpreted_type=structure.interpreted_type,
        volume_ml=structure.volume_ml,
        covered_fraction=0.62 if structure.name == "SPINALCORD" else float(not empty),
        mc=numbers.get("mc"),
        tps=numbers["tps"] if tps else None,
        mc_dvh=curves.get("mc"),
        tps_dvh=curves["tps"] if tps else None,
        note="Empty: no contour with a volume." if empty else "",
    )


def _dvh(dose: FloatArray, mask: FloatArray, noisy: bool) -> DvhCurve:
    edges = np.arange(0, 48, 0.05)
    inside = mask > 0  # the others weigh nothing, and bins of several widths sort them all
    histogram, _ = np.histogram(dose[inside], bins=np.append(edges, 100), weights=mask[inside])
    volume = histogram[::-1].cumsum()[::-1] / mask.sum()
    slope = np.abs(np.gradient(volume, edges))
    return DvhCurve(
        dose_gy=tuple(edges.tolist()),
        volume_fraction=tuple(np.clip(volume, 0, 1).tolist()),
        volume_fraction_sigma=tuple((0.4 * slope + 1e-4).tolist()) if noisy else None,
    )


def _metrics(dose: FloatArray, mask: FloatArray, noisy: bool) -> DoseMetrics:
    inside = dose[mask > 0.5]
    sigma = 0.12 if noisy else None

    def metric(value: float, share: float = 1.0) -> Metric:
        if sigma is None:
            return Metric(value=float(value), sigma=None)
        low, high = value - 2 * sigma * share, value + 2 * sigma * share
        return Metric(value=float(value), sigma=sigma * share, interval_95=(float(low), float(high)))

    return DoseMetrics(
        mean_gy=metric(inside.mean(), 0.02),
        d95_gy=metric(np.percentile(inside, 5)),
        d50_gy=metric(np.percentile(inside, 50)),
        d2_gy=metric(np.percentile(inside, 98)),
        d003cc_gy=metric(np.percentile(inside, 99), 2.0),
        d001cc_gy=metric(np.percentile(inside, 99.5), 3.0),
        max_gy=metric(inside.max(), 6.0),
    )


def _make_calibration(layout: CaseLayout, wanted: Wanted) -> Path:
    write_json(
        layout.calibration,
        CalibrationResult(
            key_sha256="6" * 64,
            machine="truebeam_stx",
            linac_sha256="7" * 64,
            engine=engine(wanted),
            reference={
                "field_size_mm": 100.0,
                "source_surface_distance_mm": 1000.0,
                "depth_mm": 15.0,
                "gray_per_mu": 0.01,
            },
            dose_per_nominal_photon=4.2e-14,
            relative_sigma=0.0038,
            nominal_photons_per_mu=2.345e11,
            histories=40_000_000,
            seconds=120.0,
        ),
    )
    return layout.calibration
