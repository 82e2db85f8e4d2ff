# What people read, and what goes back to the planning system.
rule report:
    input:
        rules.compare.output,
        merge=rules.merge.output.merge,
        error_budget=rules.error_budget.output,
        recalculated=[
            f"{FOLDER}/recalculated/{change}.json" for change in settings.changes
        ],
        depends_on=inputs_of("report"),
    output:
        html=f"{FOLDER}/report/report.html",
        pdf=f"{FOLDER}/report/report.pdf",
        summary=f"{FOLDER}/report/summary.json",
    log:
        f"{FOLDER}/logs/report.log",
    benchmark:
        f"{FOLDER}/benchmarks/report.tsv"
    threads: 2
    resources:
        mem_mb=megabytes(3000),
        runtime=minutes(60),
    params:
        depends_on=DEPENDS_ON["report"],
        folder=subpath(output[0], ancestor=2),
    message:
        "report: report.html, report.pdf and summary.json"
    shell:
        "gatecheck report {params.folder:q} > {log:q} 2>&1"


if settings.report.dicom_doses:

    rule export:
        input:
            merge=rules.merge.output.merge,
            comparison=rules.compare.output.comparison,
            depends_on=inputs_of("report"),
        output:
            [
                f"{FOLDER}/report/{CASE.dicom_dose(kind).name}"
                for kind in settings.report.dicom_doses
            ],
        log:
            f"{FOLDER}/logs/export.log",
        benchmark:
            f"{FOLDER}/benchmarks/export.tsv"
        threads: 1
        resources:
            mem_mb=megabytes(3000),
            runtime=minutes(60),
        params:
            depends_on=DEPENDS_ON["report"],
            folder=subpath(output[0], ancestor=2),
        message:
            "export: doses as RTDOSE files"
        shell:
            "gatecheck export {params.folder:q} > {log:q} 2>&1"
