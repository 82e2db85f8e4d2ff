# What people read.


rule report:
    input:
        rules.compare.output,
        merge=rules.merge.output.merge,
        depends_on=inputs_of("report"),
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
        depends_on=DEPENDS_ON["report"],
        folder=subpath(output[0], ancestor=2),
    message:
        "report: report.html and summary.json"
    shell:
        "gatecheck report {params.folder:q} > {log:q} 2>&1"
