# What the machine does: Case -> one timeline of machine states against meterset.


rule deliver:
    input:
        rules.ingest.output.case,
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
        folder=subpath(output[0], ancestor=2),
        machine=ROOM["machine"],
        version=__version__,
    message:
        "deliver: timeline of machine states against meterset"
    shell:
        "gatecheck deliver {params.folder} > {log} 2>&1"
