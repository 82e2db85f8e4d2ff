# What was planned: DICOM folder -> Case.

if settings.case.dicom_folder is None:

    rule phantom:
        output:
            directory(f"{FOLDER}/dicom"),
        log:
            f"{FOLDER}/logs/phantom.log",
        threads: 1
        resources:
            mem_mb=1500,
        params:
            name=settings.case.phantom,
            version=__version__,
        message:
            "phantom: making the DICOM set {params.name}"
        shell:
            "gatecheck phantom {params.name} --out {output} > {log} 2>&1"


rule ingest:
    input:
        f"{FOLDER}/dicom",
    output:
        case=f"{FOLDER}/case/case.json",
        ct=f"{FOLDER}/case/ct.mha",
    log:
        f"{FOLDER}/logs/ingest.log",
    benchmark:
        f"{FOLDER}/benchmarks/ingest.tsv"
    threads: 1
    resources:
        mem_mb=3000,
    params:
        source=prepared.source_signature,
        show_identity="--show-identity" if settings.case.show_identity else "",
        out=subpath(output[0], parent=True),
        version=__version__,
    message:
        "ingest: reading and checking the DICOM files"
    shell:
        "gatecheck ingest {input} --out {params.out} {params.show_identity} > {log} 2>&1"
