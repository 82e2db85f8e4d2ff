# The Monte Carlo: calibration of the machine, plan of chunks, chunks.


rule calibrate:
    input:
        rules.deliver.output,
        # not read, but a misspelt structure must not be found out after the calibration
        checked=ancient(COMPARISON_CHECKED),
        depends_on=inputs_of("calibration"),
    output:
        f"{FOLDER}/transport/calibration.json",
    log:
        f"{FOLDER}/logs/calibrate.log",
    benchmark:
        f"{FOLDER}/benchmarks/calibrate.tsv"
    threads: 2
    priority: 1  # before the pilot, which times its photons and wants the cores for itself
    resources:
        mem_mb=3000,
    params:
        depends_on=DEPENDS_ON["calibration"],
        folder=subpath(output[0], ancestor=2),
    message:
        "calibrate: the reference field in water (kept for all cases of this machine)"
    shell:
        "gatecheck calibrate {params.folder:q} > {log:q} 2>&1"


checkpoint plan_chunks:
    input:
        delivery=rules.deliver.output,
        patient=rules.voxelise.output,
        # No ancient() input here: with its job pending, Snakemake takes the checkpoint for unfinished, runs that job
        # alone and says that all is done.
        depends_on=inputs_of("transport"),
    output:
        f"{FOLDER}/transport/chunks.json",
    log:
        f"{FOLDER}/logs/plan_chunks.log",
    benchmark:
        f"{FOLDER}/benchmarks/plan_chunks.tsv"
    threads: 1
    resources:
        mem_mb=3000,
    params:
        depends_on=DEPENDS_ON["transport"],
        folder=subpath(output[0], ancestor=2),
    message:
        "plan_chunks: a pilot run says how many photons are needed"
    shell:
        "gatecheck plan-chunks {params.folder:q} > {log:q} 2>&1"


rule simulate:
    input:
        plan=rules.plan_chunks.output,
        delivery=rules.deliver.output,
        patient=rules.voxelise.output,
        # not read, but the calibration may refuse the machine or the data before an hour is spent
        calibration=ancient(rules.calibrate.output),
        # nor this: a misspelt structure must not be found out after the chunks
        checked=ancient(COMPARISON_CHECKED),
    output:
        f"{FOLDER}/transport/chunk-{{chunk}}.json",
    log:
        f"{FOLDER}/logs/simulate-{{chunk}}.log",
    benchmark:
        f"{FOLDER}/benchmarks/simulate-{{chunk}}.tsv"
    threads: 1
    resources:
        mem_mb=3000,
    params:
        folder=subpath(output[0], ancestor=2),
    message:
        "simulate: chunk {wildcards.chunk}"
    shell:
        "gatecheck simulate {params.folder:q} --chunk {wildcards.chunk} > {log:q} 2>&1"
