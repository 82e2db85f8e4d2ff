# What it adds up to: chunks -> Gy with a standard deviation in every voxel.


rule merge:
    input:
        chunks=chunk_results,
        calibration=rules.calibrate.output,
        patient=rules.voxelise.output,
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
        mem_mb=3000,
    params:
        folder=subpath(output[0], ancestor=2),
        version=__version__,
    message:
        "merge: dose and standard deviation"
    shell:
        "gatecheck merge {params.folder} > {log} 2>&1"
