"""Chunks of a small patient with made numbers in them, as `simulate` would have written them."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from gatecheck.delivery.model import BeamTimeline, Delivery
from gatecheck.delivery.storage import write_delivery
from gatecheck.files import image_from_zyx, sha256_of_file, write_image, write_json
from gatecheck.patient.model import Grid, Material, PatientModel, VoxelBox
from gatecheck.transport.model import CalibrationResult, Chunk, ChunkPlan, ChunkResult, Engine, ScoredBox

INPUTS = "1" * 64
FRACTIONS = 5
METERSET = 200.0
PHOTONS_PER_MU = 1e4

ENGINE = Engine(
    gatecheck="0",
    opengate="0",
    geant4="0",
    physics_list="G4EmStandardPhysics",
    data_set="made for a test",
    data_set_kind="embedded",
    data_set_sha256="2" * 64,
    clinical=False,
    settings={},
)
BOXES = (
    ("coarse-1", (3, 3, 2), 4.0, (0.0, 0.0, 0.0)),
    ("fine", (6, 6, 2), 2.0, (-1.0, -1.0, 7.0)),
)
GRID = Grid(size=(6, 6, 6), spacing=(2.0, 2.0, 2.0), origin=(-1.0, -1.0, -1.0))


def write_patient(folder: Path) -> PatientModel:
    """One coarse and one fine box, 12 x 12 x 12 mm together; all of it is body."""
    boxes = []
    for name, size, step, origin in BOXES:
        path = folder / f"{name}.mha"
        write_image(path, image_from_zyx(np.zeros(size[::-1], np.uint16), origin=origin, spacing=(step,) * 3))
        boxes.append(
            VoxelBox(
                name=name,
                role="fine" if name == "fine" else "coarse",
                labels=path.name,
                sha256=sha256_of_file(path),
                size=size,
                spacing=(step,) * 3,
                origin=origin,
            )
        )
    body = np.ones(GRID.size[::-1], np.uint8)
    write_image(folder / "body.mha", image_from_zyx(body, origin=GRID.origin, spacing=GRID.spacing))
    patient = PatientModel(
        made_from={},
        boxes=tuple(boxes),
        materials=(Material(label=0, name="water", density=1.0, mass_fractions={"H": 0.1119, "O": 0.8881}),),
        joined_grid=GRID,
        body_mask="body.mha",
        calibration="made for a test",
    )
    write_json(folder / "patient.json", patient)
    return patient


def write_one_chunk(
    folder: Path,
    index: int,
    doses: dict[str, np.ndarray],
    *,
    histories: int = 1000,
    seed: int | None = None,
    inputs: str = INPUTS,
    engine: Engine = ENGINE,
) -> ChunkResult:
    """Write one chunk whose boxes hold the given sums of dose; squares as of `histories` equal histories."""
    boxes = []
    for name, _, step, origin in BOXES:
        dose = doses[name]
        image = sitk.GetImageFromArray(np.stack([dose, dose**2 / histories * 2], -1).astype(np.float32), isVector=True)
        image.SetOrigin(origin)
        image.SetSpacing((step,) * 3)
        path = folder / f"chunk-{index:04d}-{name}.mha"
        write_image(path, image)
        boxes.append(ScoredBox(name=name, file=path.name, sha256=sha256_of_file(path)))
    result = ChunkResult(
        inputs_sha256=inputs,
        index=index,
        seed=100 + index if seed is None else seed,
        histories=histories,
        nominal_photons=float(2 * histories),
        particles=histories,
        boxes=tuple(boxes),
        engine=engine,
        fates={},
        energy={},
        seconds={"transport": 1.0},
        ended_at=datetime.datetime(2024, 2, 29, 12, index % 60, tzinfo=datetime.UTC),
        peak_memory_mb=100.0,
    )
    write_json(folder / f"chunk-{index:04d}.json", result)
    return result


def write_plan(folder: Path, results: list[ChunkResult]) -> None:
    """The plan that these chunks fulfil."""
    plan = ChunkPlan(
        inputs_sha256=INPUTS,
        chunks=tuple(Chunk(index=r.index, histories=r.histories, seed=r.seed) for r in results),
        target_relative_sigma=0.02,
        expected_relative_sigma=0.02,
        seconds_per_history=1e-4,
        pilot_histories=1000,
    )
    write_json(folder / "chunks.json", plan)


def made_doses(random: np.random.Generator, spread: float = 0.1) -> dict[str, np.ndarray]:
    """Noisy doses around one."""
    return {name: 1e-6 * random.normal(1.0, spread, size[::-1]) for name, size, _, _ in BOXES}


def write_case(folder: Path, chunks: int = 5, *, seed: int = 3) -> list[dict[str, np.ndarray]]:
    """patient/, transport/ and timeline.parquet below a folder; the doses written are returned."""
    random = np.random.default_rng(seed)
    (folder / "patient").mkdir()
    (folder / "transport").mkdir()
    write_patient(folder / "patient")
    doses = [made_doses(random) for _ in range(chunks)]
    results = [
        write_one_chunk(folder / "transport", index, dose, histories=1000 * index)
        for index, dose in enumerate(doses, start=1)
    ]
    write_plan(folder / "transport", results)
    write_delivery(made_delivery(), folder / "timeline.parquet")
    return doses


def made_delivery() -> Delivery:
    """One static beam."""
    nodes = np.zeros(2)
    beam = BeamTimeline(
        number=1,
        name="1",
        nominal_energy_mv=6.0,
        fluence_mode="STANDARD",
        meterset=np.array([0.0, METERSET]),
        gantry=nodes,
        collimator=nodes,
        couch=nodes,
        jaw_x=np.tile([-50.0, 50.0], (2, 1)),
        jaw_y=np.tile([-50.0, 50.0], (2, 1)),
        leaf_positions=None,
        leaf_boundaries=None,
        isocentre=np.zeros((2, 3)),
    )
    return Delivery(beams=(beam,), patient_position="HFS", fractions=FRACTIONS, made_from_sha256="3" * 64)


def made_calibration(**changes: object) -> CalibrationResult:
    """A calibration of the same engine and machine as the chunks."""
    values: dict[str, object] = {
        "key_sha256": "4" * 64,
        "machine": "made",
        "engine": ENGINE,
        "reference": {"gray_per_mu": 0.01},
        "dose_per_nominal_photon": 0.01 / PHOTONS_PER_MU,
        "relative_sigma": 0.004,
        "nominal_photons_per_mu": PHOTONS_PER_MU,
        "histories": 1,
        "seconds": 1.0,
    }
    return CalibrationResult.model_validate({**values, **changes})
