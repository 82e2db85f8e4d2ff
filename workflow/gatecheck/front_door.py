"""What the Snakefile does before its rules: prepare and lock the case, once for all of the workflow's processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from gatecheck.config import Config
from gatecheck.errors import PREPARED_VARIABLE
from gatecheck.layout import CaseLayout, locate_case, prepare_case, signature_of
from gatecheck.locking import lock_case, token_of_run, wait_until_left_alone, work_on
from gatecheck.provenance import hashes_of, inputs_of, read_hashes, write_inputs

# Words with which Snakemake only looks, and must change nothing.
_ONLY_LOOKS = frozenset(
    [
        "-n",
        "--dry-run",
        "--dryrun",
        "--lint",
        "--dag",
        "--rulegraph",
        "--filegraph",
        "--d3dag",
        "--summary",
        "-S",
        "--detailed-summary",
        "-D",
        "--list-rules",
        "--list",
        "-l",
        "--list-target-rules",
        "--lt",
        "--unlock",
        "--report",
    ]
)


def enter(config: Config, arguments: Sequence[str]) -> tuple[CaseLayout, dict[str, str]]:
    """The case's folder, and the SHA-256 of what each room depends on.

    Snakemake reads its Snakefile in every job's process. The first one prepares the case and keeps its
    lock to the end; the others, which know of it by the environment, only read, and are seen to work on the case from
    here on: Snakemake removes a job's files before it begins. A job of a run that has ended, which may have waited in a
    cluster's queue, is refused before it does. A process that only looks (a dry run) changes nothing of a case that is
    there.

    Parameters
    ----------
    arguments : sequence of str
        Snakemake's command line.

    Raises
    ------
    GatecheckError
        When the case cannot be prepared, another process works on it, or this is a job of a run before the last.
    """
    layout = locate_case(config)
    if os.environ.get(PREPARED_VARIABLE):
        work_on(layout)  # until this process ends
        return layout, read_hashes(layout.inputs)
    if _ONLY_LOOKS & set(arguments) and layout.config.exists():
        return layout, hashes_of(inputs_of(config, signature_of(config)))
    lock_case(layout)  # until this process ends
    wait_until_left_alone(layout, lambda sentence: sys.stderr.write(f"{sentence}\n"))
    hashes = write_inputs(layout.inputs, config, prepare_case(config).source_signature)
    os.environ[PREPARED_VARIABLE] = token_of_run(layout)
    return layout, hashes
