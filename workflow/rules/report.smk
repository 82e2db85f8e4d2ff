# What people read.


rule report:
    input:
        rules.compare.output,
        merge=rules.merge.output.merge,
    output:
        html=f"{FOLDER}/report/report.html",
        summary=f"{FOLDER}/report/summary.json",
    log:
        f"{FOLDER}/logs/report.log",
    benchmark:
        f"{FOLDER}/benchmarks/report.tsv"
    threads: 1
    resources:
        mem_mb=3000,
    params:
        folder=subpath(output[0], ancestor=2),
        report=ROOM["report"],
        version=__version__,
    message:
        "report: report.html and summary.json"
    shell:
        "gatecheck report {params.folder} > {log} 2>&1"
