# What a small change does to the dose: the case's photons through what was delivered, another leaf gap, thinner tissues.


rule recalculate:
    input:
        merge=rules.merge.output.merge,
        comparison=rules.compare.output.comparison,
        logs=lambda wildcards: (
            rules.deliver_logged.output.delivered
            if wildcards.change == "as_delivered"
            else []
        ),
        depends_on=inputs_of("recalculated"),
    output:
        f"{FOLDER}/recalculated/{{change}}.json",
    log:
        f"{FOLDER}/logs/recalculate-{{change}}.log",
    benchmark:
        f"{FOLDER}/benchmarks/recalculate-{{change}}.tsv"
    wildcard_constraints:
        change="|".join(CHANGES),
    threads: workflow.resource_settings.cores or 1
    resources:
        mem_mb=memory_of_recalculation,
        runtime=minutes_of_recalculation,
    params:
        depends_on=DEPENDS_ON["recalculated"],
        folder=subpath(output[0], ancestor=2),
    message:
        "recalculate: {wildcards.change}, with the same photons"
    shell:
        "gatecheck recalculate {params.folder:q} {wildcards.change} --cores {threads} > {log:q} 2>&1"


rule error_budget:
    input:
        comparison=rules.compare.output.comparison,
        recalculated=[
            f"{FOLDER}/recalculated/{change}.json"
            for change in settings.recalculation.changes
        ],
        depends_on=inputs_of("recalculated"),
    output:
        f"{FOLDER}/compare/error_budget.json",
    log:
        f"{FOLDER}/logs/error_budget.log",
    benchmark:
        f"{FOLDER}/benchmarks/error_budget.tsv"
    threads: 1
    resources:
        mem_mb=megabytes(3000),
        runtime=minutes(60),
    params:
        depends_on=DEPENDS_ON["recalculated"],
        folder=subpath(output[0], ancestor=2),
    message:
        "error_budget: what the doses of tumour and cord are uncertain by"
    shell:
        "gatecheck error-budget {params.folder:q} > {log:q} 2>&1"
