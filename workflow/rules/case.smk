# What was planned: DICOM folder -> Case.

if settings.case.dicom_folder is None:

    rule phantom:
        input:
            depends_on=inputs_of("case"),
        output:
            directory(f"{FOLDER}/dicom"),
        log:
            f"{FOLDER}/logs/phantom.log",
        threads: 1
        resources:
            mem_mb=megabytes(1500),
            runtime=minutes(60),
        params:
            depends_on=DEPENDS_ON["case"],
            name=settings.case.phantom,
        message:
            "phantom: making the DICOM set {params.name}"
        shell:
            "gatecheck phantom {params.name} --out {output:q} > {log:q} 2>&1"


# A given folder counts by its content, which inputs/case.json holds, and not as an input: Snakemake stops at the time of a
# link or an export that a wrong clock dated ahead, ancient() or not.
rule ingest:
    input:
        dicom=f"{FOLDER}/dicom" if settings.case.dicom_folder is None else [],
        depends_on=inputs_of("case"),
    output:
        case=f"{FOLDER}/case/case.json",
        ct=f"{FOLDER}/case/ct.mha",
    log:
        f"{FOLDER}/logs/ingest.log",
    benchmark:
        f"{FOLDER}/benchmarks/ingest.tsv"
    threads: 1
    resources:
        mem_mb=megabytes(3000),
        runtime=minutes(60),
    params:
        depends_on=DEPENDS_ON["case"],
        show_identity="--show-identity" if settings.case.show_identity else "",
        dicom=lambda _: CASE.dicom.as_posix(),
        out=subpath(output[0], parent=True),
    message:
        "ingest: reading and checking the DICOM files"
    shell:
        "gatecheck ingest {params.dicom:q} --out {params.out:q} {params.show_identity} > {log:q} 2>&1"
