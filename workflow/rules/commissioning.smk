# Is the machine right: fits a machine's photon source to its beam data. Not a part of any case's `all`: asked for
# by file, snakemake results/commissioning/truebeam_stx/commissioning.json
COMMISSIONING = (
    (Path(settings.results_folder) / "commissioning")
    .as_posix()
    .replace("{", "{{")
    .replace("}", "}}")
)
MODELS = (
    resolve_models_folder(settings).as_posix().replace("{", "{{").replace("}", "}}")
)


rule commission:
    input:
        machine=f"{MODELS}/{{machine}}/machine.yaml",
        data=f"{MODELS}/{{machine}}/beam_data_6x.csv",
    output:
        table=f"{COMMISSIONING}/{{machine}}/commissioning.json",
        page=f"{COMMISSIONING}/{{machine}}/commissioning.html",
        beam=f"{COMMISSIONING}/{{machine}}/beam_6x.yaml",
    log:
        f"{COMMISSIONING}/{{machine}}/commission.log",
    benchmark:
        f"{COMMISSIONING}/{{machine}}/commission.tsv"
    threads: workflow.resource_settings.cores or 1
    resources:
        mem_mb=megabytes(6000),
        runtime=minutes(60),
    params:
        # the start of the fit, and what the fitted beam replaces: no reason to run again
        config=CASE.config,
        folder=subpath(output.table, parent=True),
    message:
        "commission: {wildcards.machine}, fits the source to beam data"
    shell:
        "gatecheck commission {wildcards.machine:q} --beam-data {input.data:q} --config {params.config:q}"
        " --out {params.folder:q} --cores {threads} > {log:q} 2>&1"
