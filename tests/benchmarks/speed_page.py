"""docs/benchmarks.md from what was measured."""

from __future__ import annotations

from typing import Any

_INTRODUCTION = """# Speed

Made by `make bench` from `benchmarks.json`; each section, or each of its rows, says of which commit it was measured.
Seconds are of the machine that ran it, with nothing else at work, ratios travel. Efficiency is 1 / (sigma²
core-seconds), where sigma² is the sum of all voxels' variances over that of their squared doses, for the voxels
named, from 20 batches; each row is one run, and a ratio is known to some 10 %. (The sigma that a verification is to
reach is the mean of the voxels' relative ones.) Core-seconds are those of transport: a chunk's start, and the reading
of recorded steps, are not in them. *Plain* is the whole patient in one grid of voxels with every particle followed by
GATE, at gatecheck's converged electron steps. *At GATE's defaults* it has Geant4's steps of option 0 (a step function
of 0.2 and 1 mm), that list's own multiple scattering, and production cuts of 0.7 mm: faster in voxels of 2 mm, not in
those of 1 mm, and with another dose beside small fields. All ways of the patient's transport take photons from behind
the fast head. The case is clinical case 2.

The mark to pass is EGSnrc, measured once side by side with plain GATE on a field of 20 x 20 mm in water, voxels of
2 mm, and not run here, nor on this case: per core-second DOSXYZnrc was 8.6 times as efficient as plain GATE when
analog, 36 times with photons split in 40, and 68 times where it may ignore voxel faces in a homogeneous phantom. Plain
GATE itself gains 11 times when the phantom is one box. Where gatecheck's time goes is said for whole verifications
below.
"""

Columns = tuple[tuple[str, str, str], ...]
_OF_COMMITS = "photons"
"""Not a format, but how many source photons are of which commit: rows go on from one run to another."""


def _mean_doses(difference: str, digits: int = 2) -> Columns:
    return (
        ("case", "case", "s"),
        ("region", "region", "s"),
        ("source_photons", "source photons", ".2g"),
        ("difference", difference, f"+.{digits}%"),
        ("sigma", "sigma", f".{digits}%"),
        ("of_commits", "of commit", _OF_COMMITS),
    )


_WHAT_WHOLE_RUNS_ARE = (
    "From DICOM to report, with the calibration and the recording of electron steps where they were not in the cache: "
    "both are done once, for all plans. Sigma (k = 1) above half the prescription. Not in chunks: starts of the jobs, "
    "and cores without work at the end."
)
_WHOLE_RUNS: Columns = (
    ("case", "case", "s"),
    ("minutes", "minutes", ".1f"),
    ("calibration_minutes", "of them calibration", ".1f"),
    ("pilot_minutes", "pilot", ".1f"),
    ("recordings_made", "recordings made", "d"),
    ("source_photons", "source photons", ".3g"),
    ("relative_sigma", "sigma", ".2%"),
    ("chunks", "chunks", "d"),
    ("core_seconds_of_chunks", "core-seconds of all chunks", ".0f"),
    ("head_share", "of these the head", ".0%"),
    ("photons_share", "photons", ".0%"),
    ("along_steps_share", "electrons along recorded steps", ".0%"),
    ("gate_share", "electrons in GATE", ".1%"),
    ("start_of_job_seconds", "start of a job at most, s", ".1f"),
    ("start_of_job_share", "of its length", ".1%"),
    ("not_at_work_share", "cores' time not in chunks", ".1%"),
    ("peak_memory_gib_a_core", "peak memory of all processes, GiB a core", ".2f"),
    ("peak_memory_gib", "of a chunk, with what it shares, GiB", ".2f"),
    ("compare_and_report_seconds", "compare and report, s", ".0f"),
)

# Section: heading, what it says, and the columns: key, heading, format.
_TABLES: dict[str, tuple[str, str, Columns]] = {
    "efficiency": (
        "Efficiency of the patient's transport",
        "Irradiated volume: voxels of 2 mm everywhere, above a tenth of the maximum. Fine region: voxels of 1 mm "
        "there, above half the maximum. Mean dose is that of all these voxels over that of plain, whose own sigma "
        "in the first row of each region moves all rows alike. How far it is known that no way changes the dose is "
        "said further below, with ten to two hundred times the photons. Plain follows all photons behind the head, "
        "gatecheck those that are aimed at the patient.",
        (
            ("region", "region", "s"),
            ("way", "way", "s"),
            ("voxel_mm", "voxels, mm", "g"),
            ("source_photons", "source photons", ".2g"),
            ("core_seconds", "core-seconds", ".0f"),
            ("relative_sigma", "sigma", ".2%"),
            ("gain", "efficiency over plain", ".1f"),
            ("gain_over_defaults", "over plain at GATE's defaults", ".1f"),
            ("mean_dose_over_plain", "mean dose over plain", ".4f"),
            ("relative_sigma_of_mean_dose", "its own sigma", ".2%"),
        ),
    ),
    "unbiased": (
        "Mean doses in tumours with recorded electron steps",
        "Over those with GATE's own electrons, the same photons and so the same electrons set free, both arcs of the "
        "clinical cases, voxels of 2 mm. The target is the tumour and 5 mm around it. Sigma (k = 1) is that of the "
        "photons; what the recording adds is told further below.",
        _mean_doses("recorded steps - GATE"),
    ),
    "unbiased_around": (
        "Mean doses around tumours with recorded electron steps",
        "Over those with GATE's own electrons, the same photons and so the same electrons set free, both arcs of the "
        "clinical cases, voxels of 2 mm; within 25 mm of the tumour. Sigma (k = 1) is that of the photons; what "
        "the recording adds is told below.",
        _mean_doses("recorded steps - GATE"),
    ),
    "recordings": (
        "Mean doses along other recordings",
        "All electrons of a dose take their steps from one recording. Taken apart into eight, each with an eighth of "
        "the tracks, and the same photons' electrons followed along each: from how far these doses are apart beyond "
        "their noise, the sigma (k = 1) that the whole recording gives a mean dose, which is in no other; it is known "
        "to 27 % and, at its least, to about half of the noise, which is told too.",
        (
            ("case", "case", "s"),
            ("region", "region", "s"),
            ("source_photons", "source photons", ".2g"),
            ("sigma_of_recording", "sigma of the recording", ".3%"),
            ("noise", "noise", ".3%"),
            ("of_commits", "of commit", _OF_COMMITS),
        ),
    ),
    "unbiased_air": (
        "Mean doses in the trachea with recorded electron steps",
        "Over those with GATE's own electrons, the same photons and so the same electrons set free, both arcs of the "
        "clinical cases, moved from the tumour onto the trachea, voxels of 2 mm. GATE's steps are as fine as the "
        "recorded ones, here and in the air that recorded steps leave to it: with a patient's own its dose in air is "
        "lower. Sigma (k = 1) is that of the photons.",
        _mean_doses("recorded steps - GATE"),
    ),
    "analog": (
        "Mean doses with tracked photons",
        "Photons tracked by gatecheck, split and with roulette far away, which is what it does by itself, over "
        "every particle followed by GATE, whose source photons are told, and of which tracked ones take at least a "
        "quarter; both arcs of the clinical cases, voxels of 2 mm within 45 mm of the tumour and of 4 mm elsewhere. "
        "The target is the tumour and 5 mm around it. Sigma (k = 1) is that of the difference, both ways taken for "
        "independent. Source photons that pass the patient by are left out of both.",
        _mean_doses("tracked - GATE"),
    ),
    "analog_target": (
        "Mean doses in tumours with tracked photons",
        "As above, with voxels of 2 mm within 7 mm of the tumour only and of 8 mm elsewhere, so that "
        "GATE follows more photons in the same time. GATE follows those, too, that pass the patient by.",
        _mean_doses("tracked - GATE"),
    ),
    "analog_air": (
        "Mean doses in the trachea with tracked photons",
        "Voxels of 2 mm within 45 mm of the tumour again, with the beams moved from the tumour onto the trachea.",
        _mean_doses("tracked - GATE"),
    ),
    "roulette": (
        "Mean doses with roulette",
        "Photons tracked by gatecheck, each followed once, with roulette of photons and electrons far away, over the "
        "same with none; regions, voxels and sigma as above, and electrons along recorded steps in air, too. Who wins "
        "a roulette does what it does without one, so that the difference is that of the losers alone. Splitting is "
        "bit for bit the following of each photon so often, with a share of its weight, which a test says: together "
        "these are all that gatecheck does to a photon's weight. Hardly anything that reaches these voxels has played. "
        "Where sigma is that of a handful of winners it is itself rough, and rather too small.",
        _mean_doses("with roulette - without", digits=4),
    ),
    "roulette_air": (
        "Mean doses in the trachea with roulette",
        "As above, with the beams moved from the tumour onto the trachea.",
        _mean_doses("with roulette - without", digits=4),
    ),
    "roulette_far": (
        "Mean doses with roulette where it is played",
        "As above, with roulette outside of a box that reaches 12 mm beyond the tumour, as in whole verifications, and "
        "of the regions what lies outside of that box.",
        _mean_doses("with roulette - without", digits=3),
    ),
    "split": (
        "Mean doses with split photons and roulette",
        "Photons tracked by gatecheck, split and with roulette of photons and electrons far away, over photons that "
        "are tracked by gatecheck, too, each followed once with all that it sets free; electrons along recorded steps, "
        "in air by GATE. Split are a quarter of the source photons, which are told; sigma takes both for independent, "
        "and so is rather too large.",
        _mean_doses("split - not split"),
    ),
    "split_air": (
        "Mean doses in the trachea with split photons and roulette",
        "As above, with the beams moved from the tumour onto the trachea.",
        _mean_doses("split - not split"),
    ),
    "air_roulette": (
        "Mean doses with fewer electrons in air",
        "Of electrons along recorded steps that come into air a quarter goes on in GATE with four times the weight, as "
        "in a verification, over all of them; the same photons, voxels of 2 mm within 45 mm of the tumour.",
        _mean_doses("a quarter - all", digits=4),
    ),
    "air_roulette_air": (
        "Mean doses in the trachea with fewer electrons in air",
        "As above, with the beams moved from the tumour onto the trachea.",
        _mean_doses("a quarter - all"),
    ),
    "whole_job": (
        "Efficiency of the whole job",
        "Head and patient, in the fine region's voxels of 1 mm. Plain: gatecheck's full head in GATE, which aims "
        "photons at the openings and splits those that come behind metal, and so is faster than an analog one, and "
        "one grid. The full head counts by its seconds per photon of the source; sigma is taken to be that of as "
        "many behind the fast head.",
        (
            ("way", "way", "s"),
            ("head_seconds", "head, core-seconds", ".0f"),
            ("patient_seconds", "patient, core-seconds", ".0f"),
            ("relative_sigma", "sigma", ".2%"),
            ("gain", "efficiency over plain", ".0f"),
        ),
    ),
    "cases": (
        "Whole verifications",
        "Both arcs of the clinical cases with voxels of 1 mm round the tumour. "
        + _WHAT_WHOLE_RUNS_ARE
        + " The machine is a virtual one: on other days it took up to twice as long for the same.",
        _WHOLE_RUNS,
    ),
    "plan": (
        "Whole verification of a plan that was given",
        "With voxels of 3 mm; sigma is that within 15 mm round the target. " + _WHAT_WHOLE_RUNS_ARE,
        _WHOLE_RUNS,
    ),
    "cluster": (
        "A batch of plans on a cluster, on paper",
        "A thousand plans like clinical case 1 above on 2,000 cores, simulated event by event with the seconds of its "
        "steps and of each of its chunks. A free core takes five seconds to the next job, a job's own Snakemake five "
        "to start, and a workflow looks at its jobs every twenty; chunks of a job: fifty.",
        (
            ("way", "way", "s"),
            ("photons", "times the photons", "d"),
            ("cores_of_a_job", "cores a job", "d"),
            ("core_seconds_of_chunks", "core-seconds of a plan's chunks", ".0f"),
            ("seconds_of_one_core", "of one core alone, s", ".0f"),
            ("minutes", "minutes", ".1f"),
            ("core_hours", "core-hours held", ".0f"),
            ("used_share", "of these used", ".0%"),
            ("jobs", "jobs", "d"),
            ("workflows", "workflow processes", "d"),
        ),
    ),
    "photons": (
        "Growth with photons",
        "The patient's transport, voxels of 1 and 4 mm.",
        (
            ("source_photons", "source photons", ".2g"),
            ("core_seconds", "core-seconds", ".1f"),
            ("microseconds_per_photon", "µs per photon", ".2f"),
            ("peak_memory_mb", "peak memory, MB", ".0f"),
        ),
    ),
    "voxels": (
        "Growth with voxels",
        "The patient's transport, one size of voxels everywhere.",
        (
            ("voxel_mm", "voxels, mm", "g"),
            ("voxels", "voxels", "d"),
            ("plain_microseconds_per_photon", "plain, µs per photon", ".0f"),
            ("gatecheck_microseconds_per_photon", "gatecheck, µs per photon", ".2f"),
        ),
    ),
    "control_points": (
        "Growth with control points",
        "The fast head, of the case's arcs with every n-th of their nodes.",
        (
            ("control_points", "control points", "d"),
            ("head_microseconds_per_photon", "µs per source photon", ".2f"),
        ),
    ),
    "chunks": (
        "Growth with chunks",
        "Merging: every chunk is read, its hash checked, and added to the sums. The chunks are one image under so many "
        "names, which the machine's memory holds: a disk that is slower than hashing takes longer.",
        (
            ("chunks", "chunks", "d"),
            ("voxels", "voxels", "d"),
            ("seconds", "seconds", ".1f"),
            ("peak_memory_mb", "peak memory, MB", ".0f"),
        ),
    ),
    "gamma": (
        "Gamma",
        "2 %/1 mm on 200 x 200 x 150 points of 1 mm, two doses with noise; pymedphys 0.41 on one core, gatecheck on "
        "two. Where fewer points were measured, the time is scaled.",
        (
            ("interp_fraction", "interp_fraction", "d"),
            ("points", "points", "d"),
            ("measured_points", "measured", "d"),
            ("pymedphys_seconds", "pymedphys, s", ".0f"),
            ("gatecheck_seconds", "gatecheck, s", ".1f"),
            ("ratio", "ratio", ".0f"),
        ),
    ),
}


def markdown(found: dict[str, Any]) -> str:
    """The page, of those sections that there are."""
    return "\n".join([_INTRODUCTION, *(_section(name, found[name]) for name in _TABLES if name in found)])


def _section(name: str, section: dict[str, Any]) -> str:
    heading, words, columns = _TABLES[name]
    lines = [
        f"## {heading}",
        "",
        words,
        "",
        _line([title for _, title, _ in columns]),
        _line(["---" if form in ("s", _OF_COMMITS) else "---:" for _, _, form in columns]),
        *(_line([_cell(row.get(key), form) for key, _, form in columns]) for row in section["rows"]),
        "",
        *([] if any(form == _OF_COMMITS for _, _, form in columns) else _of_what(section)),
    ]
    return "\n".join(lines)


def _cell(value: Any, form: str) -> str:
    if value is None:
        return "not measured"
    if form == _OF_COMMITS:
        alone = len(value) == 1
        return ", ".join(commit if alone else f"{commit} ({photons:.2g})" for commit, photons in value.items())
    return format(value, form)


def _of_what(section: dict[str, Any]) -> list[str]:
    if "commit" not in section:
        return []
    return [f"Measured of commit {section['commit']}, with {section['scale']:g} times the photons of a whole run.", ""]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
