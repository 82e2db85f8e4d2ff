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
        mem_mb=500,
    params:
        depends_on=DEPENDS_ON["delivery"],
        folder=subpath(output[0], ancestor=2),
    message:
        "deliver: timeline of machine states against meterset"
    shell:
        "gatecheck deliver {params.folder:q} > {log:q} 2>&1"
