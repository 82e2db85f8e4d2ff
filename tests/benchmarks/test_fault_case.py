"""Case folders with a fault hold together, and differ from the fault-free one in what the fault changes alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import fault_run
import fault_table
import numpy as np
import pytest
from fault_case import FaultFree, Work, config_of, folder_name, only_scales, simulation_key, work_of, write_fault_case
from fault_run import FaultOptions, is_finished, layout_of, run_fault
from made_fault_free import CHUNKS, write_fault_free
from tests.dose.made_chunks import ENGINE

from gatecheck.case.storage import read_case
from gatecheck.config import load_config
from gatecheck.delivery.storage import read_delivery
from gatecheck.dose.model import MergeResult
from gatecheck.errors import SimulationError
from gatecheck.files import array_zyx, read_image, read_json, sha256_of_file, sha256_of_json
from gatecheck.layout import CaseLayout
from gatecheck.linac.load import load_linac_model
from gatecheck.patient.voxelise import read_patient
from gatecheck.phantoms.faults import faults
from gatecheck.transport.calibrate import calibration_key
from gatecheck.transport.fast_head import sample_phase_space
from gatecheck.transport.model import Chunk, ChunkPlan

NAMES = tuple(faults(tps_dose_spacing=(3.0, 2.5, 2.0)))
BY_WORK = {
    "none": Work.COMPARE,
    "TPS dose grid half a voxel": Work.COMPARE,
    "output +2 %": Work.MERGE,
    "output -2 %": Work.MERGE,
}
PHOTONS = 3000


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> FaultFree:
    return write_fault_free(tmp_path_factory.mktemp("faults") / "made")


def hashes(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_of_file(path) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def folders(base: FaultFree, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each fault's case folder, not to be changed, made while nothing of the fault-free case's changes."""
    root, before = tmp_path_factory.mktemp("prepared"), hashes(base.layout.folder)
    found = {}
    for name, fault in base.faults().items():
        found[name] = root / folder_name(fault)
        write_fault_case(base, fault, found[name], config_of(base, photons=PHOTONS))
    assert hashes(base.layout.folder) == before
    return found


def options_for(folder: Path, photons: int = PHOTONS) -> FaultOptions:
    return FaultOptions(root=folder, photons=photons)


@pytest.mark.parametrize("name", NAMES)
def test_a_faults_folder_differs_in_what_the_fault_changes_alone(
    name: str, base: FaultFree, folders: dict[str, Path]
) -> None:
    fault, before = base.faults()[name], hashes(base.layout.folder)
    layout, after = CaseLayout(folders[name]), hashes(folders[name])
    work = work_of(fault, base)
    assert work is BY_WORK.get(name, Work.SIMULATE)
    changed = {file for file in set(before) & set(after) if before[file] != after[file]} - {"config.yaml"}
    is_dense, is_displaced = name == "CT density +3 %", any(fault.tps_dose_shift)
    expected = set() if name == "none" else {"case/case.json"}
    expected |= set() if work is Work.COMPARE else {"delivery/timeline.parquet"}
    expected |= {"case/ct.mha", "patient/patient.json", "patient/body.mha"} if is_dense else set()
    expected |= {"case/tps_dose.mha"} if is_displaced else set()
    assert changed - {"patient/fine.mha", "patient/coarse-1.mha"} == expected
    chunks = {file for file in after if file.startswith("transport/chunk")}
    assert len(chunks) == (0 if work is Work.SIMULATE else 1 + 3 * CHUNKS)
    assert any(file.startswith("dose/") for file in after) == (work is Work.COMPARE)
    assert after["transport/calibration.json"] == before["transport/calibration.json"]
    assert load_config(layout.config, check_inputs=False).transport.source_photons == PHOTONS


@pytest.mark.parametrize("name", NAMES)
def test_a_faults_case_is_whole_and_its_delivery_is_of_its_beams(
    name: str, base: FaultFree, folders: dict[str, Path]
) -> None:
    fault = base.faults()[name]
    layout = CaseLayout(folders[name])
    case = read_case(layout.case, check_images=True)
    assert case.beams == fault.of_beams(base.case.beams)
    assert case.structures == base.case.structures
    assert [warning.code for warning in case.warnings] == ([] if name == "none" else ["fault-on-purpose"])
    same = {"structures", "fractions", "target_prescription_gy", "patient_position", "case_id", "content_sha256"}
    assert case.model_dump(include=same) == base.case.model_dump(include=same)
    delivery = read_delivery(layout.delivery)
    assert delivery.total_meterset == pytest.approx(sum(beam.meterset for beam in case.beams))
    if work_of(fault, base) is not Work.COMPARE:
        assert delivery.made_from_sha256 == sha256_of_json(case.model_dump(mode="json"))
    for kept in (layout.patient / "patient.json", layout.calibration):
        assert kept.exists()


def test_a_displaced_grid_keeps_its_doses(base: FaultFree, folders: dict[str, Path]) -> None:
    case_folder = CaseLayout(folders["TPS dose grid half a voxel"]).case
    before, after = (read_image(folder / "tps_dose.mha") for folder in (base.layout.case, case_folder))
    np.testing.assert_allclose(np.subtract(after.GetOrigin(), before.GetOrigin()), (1.5, 1.25, 1.0))
    np.testing.assert_array_equal(array_zyx(after), array_zyx(before))
    case = read_case(case_folder, check_images=True)
    assert case.tps_dose is not None
    np.testing.assert_allclose(case.tps_dose.image.origin, after.GetOrigin())


def test_a_denser_ct_makes_a_denser_patient_of_the_same_outline(base: FaultFree, tmp_path: Path) -> None:
    config = config_of(base, photons=PHOTONS)
    densities = []
    # "none" with its patient made from the CT, since the made case's patient is not.
    for name in ("CT density +3 %", "none"):
        folder = tmp_path / folder_name(base.faults()[name])
        write_fault_case(base, base.faults()[name], folder, config)
        if name == "none":
            fault_run.steps.voxelise(folder)
        layout = CaseLayout(folder)
        patient = read_patient(layout.patient)
        assert patient.made_from["ct"] == read_case(layout.case).ct.sha256
        density = np.array([material.density for material in patient.materials])
        box = patient.boxes[0]
        labels = array_zyx(read_image(layout.patient / box.labels)).astype(int)
        middle = tuple(size // 2 for size in labels.shape)
        densities.append((float(density[labels[middle]]), patient.joined_grid))
    (dense, grid), (planned, grid_before) = densities
    assert grid == grid_before
    assert dense / planned == pytest.approx(1.03, abs=0.012)


def test_metersets_by_one_factor_scale_and_anything_else_does_not(base: FaultFree) -> None:
    beams = base.case.beams
    louder = tuple(beam.model_copy(update={"meterset": 1.02 * beam.meterset}) for beam in beams)
    assert only_scales(beams, louder)
    assert not only_scales(beams, (louder[0], beams[1]))
    assert not only_scales(beams, beams[:1])
    turned = base.faults()["collimator +1 degree"].of_beams(louder)
    assert not only_scales(beams, turned)


def test_a_factor_of_all_metersets_leaves_the_photons_as_they_are(base: FaultFree, folders: dict[str, Path]) -> None:
    linac = load_linac_model(Path(base.config.machine.models_folder) / "truebeam_stx")
    planned, louder = (
        sample_phase_space(read_delivery(CaseLayout(folders[name]).delivery), linac, PHOTONS, 5)
        for name in ("none", "output +2 %")
    )
    assert louder.nominal_photons == pytest.approx(planned.nominal_photons, rel=1e-12)
    assert len(louder) == len(planned)
    np.testing.assert_allclose(louder.position, planned.position, atol=1e-6)
    np.testing.assert_allclose(louder.weight, planned.weight, rtol=1e-6)


def test_every_simulated_fault_has_seeds_of_its_own_and_the_calibration_stays_valid(
    base: FaultFree, folders: dict[str, Path]
) -> None:
    config = config_of(base, photons=PHOTONS)
    simulated = [name for name, fault in base.faults().items() if work_of(fault, base) is Work.SIMULATE]
    # Seeds are a hash over these two files, among others that all faults share.
    timelines = {
        (sha256_of_file(layout.delivery), sha256_of_file(layout.patient / "patient.json"))
        for layout in (CaseLayout(folders[name]) for name in ("none", *simulated))
    }
    assert len(timelines) == 1 + len(simulated)
    assert config.transport.seed == base.config.transport.seed
    linac = load_linac_model(Path(base.config.machine.models_folder) / "truebeam_stx")
    keys = {calibration_key(linac, ENGINE, one.calibration, one.transport.seed) for one in (config, base.config)}
    assert len(keys) == 1


def test_more_photons_make_more_chunks_not_larger_ones(base: FaultFree) -> None:
    largest = max(chunk.histories for chunk in base.plan.chunks)
    least = base.config.transport.minimum_chunks
    assert config_of(base, photons=largest).transport.minimum_chunks == least
    assert config_of(base, photons=3 * least * largest).transport.minimum_chunks == 3 * least
    assert config_of(base, photons=largest, chunks=7).transport.minimum_chunks == 7


def test_keys_change_with_the_fault_and_with_photons_where_photons_are_simulated(base: FaultFree) -> None:
    few, many = config_of(base, photons=PHOTONS), config_of(base, photons=2 * PHOTONS)
    known = base.faults()
    assert len({simulation_key(base, fault, few) for fault in known.values()}) == len(known)
    assert len({folder_name(fault) for fault in known.values()}) == len(known)
    for fault in known.values():
        is_simulated = work_of(fault, base) is Work.SIMULATE
        assert (simulation_key(base, fault, few) != simulation_key(base, fault, many)) == is_simulated


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders that were compared; the comparison itself is none of these tests'."""
    folders: list[Path] = []

    def compare(folder: Path) -> None:
        folders.append(folder)
        layout = CaseLayout(folder)
        layout.compare.mkdir(exist_ok=True)
        for name in ("interface.json", "comparison.json"):
            (layout.compare / name).write_text("{}", encoding="utf-8")

    monkeypatch.setattr(fault_run.steps, "compare", compare)
    return folders


def test_more_output_is_the_same_dose_times_the_factor(base: FaultFree, tmp_path: Path, compared: list[Path]) -> None:
    fault, options = base.faults()["output +2 %"], options_for(tmp_path)
    run_fault(base, fault, options, print)
    before, after = (
        array_zyx(read_image(folder / "mc_dose.mha")) for folder in (base.layout.dose, layout_of(fault, options).dose)
    )
    np.testing.assert_allclose(after, 1.02 * before, rtol=1e-6)
    merged = read_json(layout_of(fault, options).dose / "merge.json", MergeResult)
    assert merged.meterset_per_fraction == pytest.approx(1.02 * base.merged.meterset_per_fraction)
    assert merged.chunk_sha256 == base.merged.chunk_sha256
    assert len(compared) == 1


def test_what_is_finished_is_known_until_something_it_depends_on_changes(
    base: FaultFree, tmp_path: Path, compared: list[Path]
) -> None:
    fault, options = base.faults()["output +2 %"], options_for(tmp_path)
    assert not is_finished(base, fault, options)
    run_fault(base, fault, options, print)
    assert is_finished(base, fault, options)
    assert is_finished(base, fault, options_for(tmp_path, 2 * PHOTONS))  # it simulates none
    other = base.config.model_copy(update={"setup": base.config.setup.model_copy(update={"seed": 99})})
    assert not is_finished(dataclasses.replace(base, config=other), fault, options)
    (layout_of(fault, options).compare / "interface.json").unlink()
    assert not is_finished(base, fault, options)
    assert [path.name for path in tmp_path.iterdir()] == [folder_name(fault)]
    assert len(compared) == 1


def test_an_interrupted_fault_simulates_only_the_chunks_that_are_missing(
    base: FaultFree, tmp_path: Path, compared: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    fault, options = base.faults()["leaf gap +0.5 mm"], options_for(tmp_path)
    layout = layout_of(fault, options)
    simulated: list[list[int]] = []
    plans: list[Path] = []

    def plan_chunks(folder: Path) -> None:
        plans.append(folder)
        chunks = tuple(Chunk(index=index, histories=1000, seed=index) for index in (1, 2, 3))
        plan = base.plan.model_copy(update={"chunks": chunks})
        layout.chunk_plan.write_text(plan.model_dump_json(), encoding="utf-8")

    def in_process(_function: Any, *, case_folder: Path, cores: int) -> None:
        """The verb simulates what is missing."""
        assert (case_folder, cores) == (layout.folder, options.cores)
        simulated.append([index for index in (1, 2, 3) if not layout.chunk(index).exists()])
        for index in simulated[-1][:1]:
            layout.chunk(index).write_text("{}", encoding="utf-8")
        if len(simulated[-1]) > 1:
            raise SimulationError("interrupted")

    def merge(folder: Path) -> None:
        CaseLayout(folder).dose.mkdir()
        (CaseLayout(folder).dose / "merge.json").write_text("{}", encoding="utf-8")

    monkeypatch.setattr(fault_run.steps, "plan_chunks", plan_chunks)
    monkeypatch.setattr(fault_run.steps, "merge", merge)
    monkeypatch.setattr(fault_run, "run_in_process", in_process)
    for _ in range(2):
        with pytest.raises(SimulationError, match="interrupted"):
            run_fault(base, fault, options, print)
    run_fault(base, fault, options, print)
    assert simulated == [[1, 2, 3], [2, 3], [3]]
    assert len(plans) == len(compared) == 1
    assert is_finished(base, fault, options)
    # Another number of photons is another simulation: nothing of this one is taken for it.
    assert not is_finished(base, fault, options_for(tmp_path, 2 * PHOTONS))
    with pytest.raises(SimulationError, match="interrupted"):
        run_fault(base, fault, options_for(tmp_path, 2 * PHOTONS), print)
    assert simulated[-1] == [1, 2, 3]
    assert read_json(layout.chunk_plan, ChunkPlan).chunks[0].index == 1


def test_a_phantoms_own_configuration_differs_from_that_of_all_by_its_earlier_course_alone() -> None:
    common = load_config(fault_table.config_of_phantom("clinical_case_1"))
    own = load_config(fault_table.config_of_phantom("clinical_case_2"))
    (course,) = own.biology.earlier_courses
    assert (course.uniform_dose, course.fractions) == (30.0, 10)
    assert own.model_copy(update={"biology": common.biology}) == common
