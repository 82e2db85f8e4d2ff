# The front door: validates the configuration, includes one file of rules per room, says what `all` is.
from snakemake.utils import min_version

from gatecheck import __version__
from gatecheck.config import validate_config
from gatecheck.errors import GatecheckError
from gatecheck.layout import prepare_case

min_version("9.5")


configfile: "config.yaml"


try:
    settings = validate_config(config, source="configuration")
    prepared = prepare_case(settings)
except GatecheckError as error:
    raise WorkflowError(str(error)) from None

CASE = prepared.layout
FOLDER = CASE.folder.as_posix()
ROOM = settings.model_dump(
    mode="json"
)  # each rule lists the sections it depends on as params


wildcard_constraints:
    chunk=r"\d{4}",


include: "workflow/rules/common.smk"
include: "workflow/rules/case.smk"
include: "workflow/rules/delivery.smk"
include: "workflow/rules/patient.smk"
include: "workflow/rules/transport.smk"
include: "workflow/rules/dose.smk"
include: "workflow/rules/compare.smk"
include: "workflow/rules/report.smk"


localrules:
    all,


rule all:
    default_target: True
    input:
        rules.report.output,
