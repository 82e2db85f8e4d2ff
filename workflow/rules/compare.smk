# How far apart: dose-volume histograms and differences.


rule compare:
    input:
        case=rules.ingest.output.case,
        merge=rules.merge.output.merge,
    output:
        f"{FOLDER}/compare/comparison.json",
    log:
        f"{FOLDER}/logs/compare.log",
    benchmark:
        f"{FOLDER}/benchmarks/compare.tsv"
    threads: 1
    resources:
        mem_mb=3000,
    params:
        folder=subpath(output[0], ancestor=2),
        version=__version__,
    message:
        "compare: dose-volume histograms"
    shell:
        "gatecheck compare {params.folder} > {log} 2>&1"
