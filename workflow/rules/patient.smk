# What the beam meets: CT and structures -> boxes of voxels and materials.


rule voxelise:
    input:
        case=rules.ingest.output.case,
        ct=rules.ingest.output.ct,
        depends_on=inputs_of("patient"),
    output:
        f"{FOLDER}/patient/patient.json",
    log:
        f"{FOLDER}/logs/voxelise.log",
    benchmark:
        f"{FOLDER}/benchmarks/voxelise.tsv"
    threads: 1
    resources:
        mem_mb=megabytes(4000),
        runtime=minutes(60),
    params:
        depends_on=DEPENDS_ON["patient"],
        folder=subpath(output[0], ancestor=2),
    message:
        "voxelise: materials and densities, fine and coarse"
    shell:
        "gatecheck voxelise {params.folder:q} > {log:q} 2>&1"
