# What the machine does: Case -> one timeline of machine states against meterset.


rule deliver:
    input:
        rules.ingest.output.case,
        depends_on=inputs_of("delivery"),
    output:
        f"{FOLDER}/delivery/timeline.parquet",
    log:
        f"{FOLDER}/logs/deliver.log",
    benchmark:
        f"{FOLDER}/benchmarks/deliver.tsv"
    threads: 1
    resources:
        mem_mb=megabytes(500),
        runtime=minutes(60),
    params:
        depends_on=DEPENDS_ON["delivery"],
        folder=subpath(output[0], ancestor=2),
    message:
        "deliver: timeline of machine states against meterset"
    shell:
        "gatecheck deliver {params.folder:q} > {log:q} 2>&1"


if settings.case.trajectory_logs:

    rule deliver_logged:
        input:
            rules.ingest.output.case,
            rules.deliver.output,
            depends_on=inputs_of("logs"),
        output:
            delivered=f"{FOLDER}/delivery/delivered.parquet",
            logs=f"{FOLDER}/delivery/logs.json",
        log:
            f"{FOLDER}/logs/deliver_logged.log",
        benchmark:
            f"{FOLDER}/benchmarks/deliver_logged.tsv"
        priority: 2  # logs of another plan are refused before an hour is spent
        threads: 1
        resources:
            mem_mb=megabytes(1500),
            runtime=minutes(60),
        params:
            depends_on=DEPENDS_ON["logs"],
            folder=subpath(output[0], ancestor=2),
        message:
            "deliver_logged: what the machine did, by its trajectory logs"
        shell:
            "gatecheck deliver-logged {params.folder:q} > {log:q} 2>&1"
