# The Monte Carlo: calibration of the machine, plan of chunks, chunks.
#
# No input is ancient(), here and elsewhere: when the job that makes one has to run, Snakemake 9 skips what lies behind the
# job that takes it, missing files and all, and ends with 0. What must not be found out after hours, `calibrate` and
# `plan-chunks` look for themselves.


rule calibrate:
    input:
        rules.deliver.output,
        depends_on=inputs_of("calibration"),
    output:
        f"{FOLDER}/transport/calibration.json",
    log:
        f"{FOLDER}/logs/calibrate.log",
    benchmark:
        f"{FOLDER}/benchmarks/calibrate.tsv"
    priority: 1  # it may refuse the machine or the data, and the pilot times its photons on free cores
    threads: 2
    resources:
        mem_mb=megabytes(3000),
        runtime=minutes(180),
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
        depends_on=inputs_of("transport"),
    output:
        f"{FOLDER}/transport/chunks.json",
    log:
        f"{FOLDER}/logs/plan_chunks.log",
    benchmark:
        f"{FOLDER}/benchmarks/plan_chunks.tsv"
    threads: 2  # electron steps are recorded by two processes
    resources:
        mem_mb=megabytes(5000),
        runtime=minutes(60),
    params:
        depends_on=DEPENDS_ON["transport"],
        folder=subpath(output[0], ancestor=2),
    message:
        "plan_chunks: a pilot run says how many photons are needed"
    shell:
        "gatecheck plan-chunks {params.folder:q} > {log:q} 2>&1"


# The chunks themselves are no outputs: Snakemake would remove those that are done when one of them fails, or when they are
# planned anew and still fit.
rule simulate:
    input:
        plan=plans_of_job,
        delivery=rules.deliver.output,
        patient=rules.voxelise.output,
    output:
        f"{FOLDER}/transport/job-{{job}}.json",
    log:
        f"{FOLDER}/logs/simulate-{{job}}.log",
    benchmark:
        f"{FOLDER}/benchmarks/simulate-{{job}}.tsv"
    threads: workflow.resource_settings.cores or 1
    resources:
        mem_mb=memory_of_job,
        runtime=minutes_of_job,
    params:
        folder=subpath(output[0], ancestor=2),
    message:
        "simulate: job {wildcards.job}"
    shell:
        "gatecheck simulate {params.folder:q} --job {wildcards.job} --cores {threads} > {log:q} 2>&1"


# Merges and compares what there is, and asks for more chunks where more was wanted: at most ROUNDS times.
checkpoint top_up:
    input:
        jobs=jobs_before_round,
        calibration=rules.calibrate.output,
        patient=rules.voxelise.output,
        depends_on=[
            inputs_of(room)
            for room in (
                ("transport", "dose", "compare")
                if settings.transport.target_half_widths
                else ("transport", "dose")
            )
        ],
    output:
        f"{FOLDER}/transport/top-up-{{round}}.json",
    log:
        f"{FOLDER}/logs/top_up-{{round}}.log",
    benchmark:
        f"{FOLDER}/benchmarks/top_up-{{round}}.tsv"
    wildcard_constraints:
        round=r"[1-3]",
    threads: 1
    resources:
        mem_mb=megabytes(3000),
        runtime=minutes(60),
    params:
        folder=subpath(output[0], ancestor=2),
    message:
        "top_up: whether what was wanted is reached, round {wildcards.round}"
    shell:
        "gatecheck top-up {params.folder:q} --round {wildcards.round} > {log:q} 2>&1"
