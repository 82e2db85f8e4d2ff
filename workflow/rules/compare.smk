# How far apart: dose-volume histograms, the interface of tumour and cord, EQD2 and BED, setup errors, gamma, profiles.


rule check_comparison:
    input:
        case=rules.ingest.output.case,
        depends_on=inputs_of("compare"),
    output:
        f"{FOLDER}/compare/checked.json",
    log:
        f"{FOLDER}/logs/check_comparison.log",
    benchmark:
        f"{FOLDER}/benchmarks/check_comparison.tsv"
    priority: 2  # its refusal comes before whatever else is ready
    threads: 1
    resources:
        mem_mb=megabytes(3000),
        runtime=minutes(60),
    params:
        depends_on=DEPENDS_ON["compare"],
        folder=subpath(output[0], ancestor=2),
    message:
        "check_comparison: the structures and earlier doses that the configuration names"
    shell:
        "gatecheck check-comparison {params.folder:q} > {log:q} 2>&1"


rule compare:
    input:
        case=rules.ingest.output.case,
        merge=rules.merge.output.merge,
        checked=rules.check_comparison.output,
        depends_on=inputs_of("compare"),
    output:
        comparison=f"{FOLDER}/compare/comparison.json",
        interface=f"{FOLDER}/compare/interface.json",
        biology=f"{FOLDER}/compare/biology.json",
        setup=f"{FOLDER}/compare/setup.json",
        gamma=f"{FOLDER}/compare/gamma.json",
        profiles=f"{FOLDER}/compare/profiles.json",
    log:
        f"{FOLDER}/logs/compare.log",
    benchmark:
        f"{FOLDER}/benchmarks/compare.tsv"
    threads: 2
    resources:
        mem_mb=megabytes(3000),
        runtime=minutes(60),
    params:
        depends_on=DEPENDS_ON["compare"],
        folder=subpath(output[0], ancestor=2),
    message:
        "compare: dose-volume histograms, interface, EQD2, setup errors, gamma, profiles"
    shell:
        "gatecheck compare {params.folder:q} > {log:q} 2>&1"
