# What it adds up to: chunks -> Gy with a standard deviation in every voxel.


rule merge:
    input:
        jobs=job_results,
        calibration=rules.calibrate.output,
        patient=rules.voxelise.output,
        depends_on=inputs_of("dose"),
    output:
        dose=f"{FOLDER}/dose/mc_dose.mha",
        sigma=f"{FOLDER}/dose/mc_sigma.mha",
        merge=f"{FOLDER}/dose/merge.json",
    log:
        f"{FOLDER}/logs/merge.log",
    benchmark:
        f"{FOLDER}/benchmarks/merge.tsv"
    threads: 1
    resources:
        mem_mb=megabytes(3000),
        runtime=minutes(60),
    params:
        depends_on=DEPENDS_ON["dose"],
        folder=subpath(output[0], ancestor=2),
    message:
        "merge: dose and standard deviation"
    shell:
        "gatecheck merge {params.folder:q} > {log:q} 2>&1"
