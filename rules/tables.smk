rule scores:
    """One tidy file of all scores; every table is a selection of it."""
    input:
        floors=[
            collect(rules.floor.output.score, dataset=one[0], size=one[1])
            for one in plan.scored_sizes(CONFIG)
        ],
        scores=[collect(rules.score.output.score, **one._asdict()) for one in plan.scored(CONFIG)],
        timings=[collect(rules.time.output.timing, **one._asdict()) for one in plan.timed(CONFIG)],
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
        [
            path
            for dataset, size, model in plan.trained(CONFIG)
            for path in collect(rules.train.output.record, dataset=dataset, size=size, model=model)
        ],
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
        [collect(rules.critic.output.score, **one._asdict()) for one in plan.pairs(CONFIG)],
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
        scores=rules.scores.output.table,
        critics=rules.critics.output.table,
        costs=rules.costs.output.table,
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
        table=any_of(plan.tables(CONFIG)),
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
        " --critics {input.critics} --costs {input.costs} --published {input.published}"
        " --csv {output.csv} --markdown {output.markdown} --latex {output.latex} > {log} 2>&1"
