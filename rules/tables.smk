rule scores:
    """One tidy file of all scores, for whoever makes other tables."""
    input:
        scores=scores_of(),
        timings=timings_of(),
    output:
        table="<results>/scores.csv",
    log:
        "<results>/logs/scores.log",
    benchmark:
        "<results>/benchmarks/scores.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code("scores"),
    shell:
        "python -m prdit scores --scores {input} --table {output.table} > {log} 2>&1"


rule costs:
    """Hours come from the trainings' own records, which sum over all attempts."""
    input:
        records_of(),
    output:
        table="<results>/costs.csv",
    log:
        "<results>/logs/costs.log",
    benchmark:
        "<results>/benchmarks/costs.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code("costs"),
    shell:
        "python -m prdit costs --records {input} --table {output.table} > {log} 2>&1"


rule critics:
    """What all critics found, in one tidy file."""
    input:
        critics_of(),
    output:
        table="<results>/critics.csv",
    log:
        "<results>/logs/critics.log",
    benchmark:
        "<results>/benchmarks/critics.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code("critics"),
    shell:
        "python -m prdit critics --critics {input} --table {output.table} > {log} 2>&1"


rule all_metrics:
    """No metric alone tells what a generator does."""
    input:
        scores=rules.scores.output.table,
    output:
        markdown="<results>/tables/all_metrics.md",
    log:
        "<results>/logs/all_metrics.log",
    benchmark:
        "<results>/benchmarks/all_metrics.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code("all-metrics"),
    shell:
        "python -m prdit all-metrics --scores {input.scores} --markdown {output.markdown} > {log} 2>&1"


rule settings:
    """Tables 9 and 10 say what was trained, not what somebody remembers."""
    input:
        published="config/published.yaml",
    output:
        stage_1="<results>/tables/table_9.md",
        stage_2="<results>/tables/table_10.md",
    log:
        "<results>/logs/settings.log",
    benchmark:
        "<results>/benchmarks/settings.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        recipe=recipe(instructions.settings_recipe),
        code=code("settings"),
    shell:
        "python -m prdit settings --recipe {params.recipe:q} --published {input.published}"
        " --stage-1 {output.stage_1} --stage-2 {output.stage_2} > {log} 2>&1"


rule table:
    """A table of the paper, its published numbers beside ours."""
    input:
        scores=lambda wildcards: scores_of(wildcards.table) + timings_of(wildcards.table),
        critics=lambda wildcards: critics_of(wildcards.table),
        records=lambda wildcards: records_of(wildcards.table),
        published="config/published.yaml",
    output:
        csv=report(
            "<results>/tables/{table}.csv",
            caption="../workflow/report/table.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
        markdown="<results>/tables/{table}.md",
        latex="<results>/tables/{table}.tex",
    log:
        "<results>/logs/table/{table}.log",
    benchmark:
        "<results>/benchmarks/table/{table}.tsv"
    wildcard_constraints:
        table=any_of(experiments.tables(CONFIG)),
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        recipe=recipe(instructions.table_recipe, "table"),
        code=code("table"),
    shell:
        "python -m prdit table --recipe {params.recipe:q} --scores {input.scores}"
        " --critics {input.critics} --records {input.records} --published {input.published}"
        " --csv {output.csv} --markdown {output.markdown} --latex {output.latex} > {log} 2>&1"
