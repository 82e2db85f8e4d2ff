# The front door: validates the configuration, includes one file of rules per room, says what `all` is.
import sys

from snakemake.utils import min_version

from gatecheck.config import resolve_models_folder, validate_config
from gatecheck.errors import GatecheckError
from gatecheck.front_door import enter

min_version("9.5")


configfile: "config.yaml"


try:
    settings = validate_config(config, source="configuration")
    CASE, DEPENDS_ON = enter(settings, sys.argv)
except GatecheckError as error:
    raise WorkflowError(str(error)) from None

FOLDER = CASE.folder.as_posix().replace("{", "{{").replace("}", "}}")


wildcard_constraints:
    job=r"\d{4}",


include: "workflow/rules/common.smk"
include: "workflow/rules/case.smk"
include: "workflow/rules/delivery.smk"
include: "workflow/rules/patient.smk"
include: "workflow/rules/transport.smk"
include: "workflow/rules/dose.smk"
include: "workflow/rules/compare.smk"
include: "workflow/rules/recalculation.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/commissioning.smk"


localrules:
    all,


rule all:
    default_target: True
    input:
        rules.report.output,
        rules.export.output if settings.report.dicom_doses else [],
