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
        recipe=recipe(plan.settings_recipe),
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
        recipe=recipe(plan.table_recipe, "table"),
        code=code("table"),
    shell:
        "python -m prdit table --recipe {params.recipe:q} --scores {input.scores}"
        " --critics {input.critics} --costs {input.costs} --published {input.published}"
        " --csv {output.csv} --markdown {output.markdown} --latex {output.latex} > {log} 2>&1"


rule figure:
    """Slices tell what no distance between features does."""
    input:
        real=figure_real,
        cards=figure_cards,
    output:
        figure=report(
            "<results>/figures/{figure}_{dataset}.png",
            caption="../workflow/report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}", "data set": "{dataset}"},
        ),
    log:
        "<results>/logs/figure/{figure}_{dataset}.log",
    benchmark:
        "<results>/benchmarks/figure/{figure}_{dataset}.tsv"
    wildcard_constraints:
        figure=any_of(sorted({name for name, _ in plan.figures(CONFIG)})),
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        recipe=recipe(plan.figure_recipe, "figure", "dataset"),
        code=code("figure"),
    shell:
        "python -m prdit figure --recipe {params.recipe:q} --real {input.real}"
        " --cards {input.cards} --figure {output.figure} > {log} 2>&1"


rule cavities:
    """Dark voids in generated volumes are judged by those that real ones have."""
    input:
        real=lambda wildcards: collect(
            rules.pack.output.array, size=CONFIG.figures.figure_6.size, allow_missing=True
        ),
    output:
        figure="<results>/figures/figure_6_{dataset}.png",
    log:
        "<results>/logs/cavities/{dataset}.log",
    benchmark:
        "<results>/benchmarks/cavities/{dataset}.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        recipe=recipe(plan.cavities_recipe, "dataset"),
        code=code("cavities"),
    shell:
        "python -m prdit cavities --recipe {params.recipe:q} --real {input.real}"
        " --figure {output.figure} > {log} 2>&1"


rule figure_15:
    """A picture needs no GPU; what it shows was drawn by one."""
    input:
        volumes="<results>/branches/{dataset}.npz",
    output:
        figure="<results>/figures/figure_15_{dataset}.png",
    log:
        "<results>/logs/figure_15/{dataset}.log",
    benchmark:
        "<results>/benchmarks/figure_15/{dataset}.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        recipe=recipe(plan.branches_recipe, "dataset"),
        code=code("figure-15"),
    shell:
        "python -m prdit figure-15 --recipe {params.recipe:q} --volumes {input.volumes}"
        " --figure {output.figure} > {log} 2>&1"


rule closest:
    """What a metric calls a copy, a person can judge."""
    input:
        scores=lambda wildcards: [
            path
            for one in plan.scored(CONFIG)
            if (one.dataset, str(one.size)) == (wildcards.dataset, wildcards.size)
            for path in collect(rules.score.output.score, **one._asdict())
        ],
        real=rules.pack.output.array,
    output:
        figure="<results>/figures/closest_{dataset}_{size}.png",
    log:
        "<results>/logs/closest/{dataset}_{size}.log",
    benchmark:
        "<results>/benchmarks/closest/{dataset}_{size}.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        code=code("closest"),
    shell:
        "python -m prdit closest --scores {input.scores} --real {input.real}"
        " --figure {output.figure} > {log} 2>&1"


rule quality:
    """What became of every series, to be looked at before any number is believed."""
    input:
        ledger=rules.ledger.output.ledger,
        split=rules.ledger.output.split,
        summary=rules.ledger.output.summary,
    output:
        page=report(
            directory("<results>/quality/{dataset}"),
            htmlindex="index.html",
            caption="../workflow/report/quality.rst",
            category="Scans",
            labels={"data set": "{dataset}"},
        ),
    log:
        "<results>/logs/quality/{dataset}.log",
    benchmark:
        "<results>/benchmarks/quality/{dataset}.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        recipe=recipe(plan.quality_recipe, "dataset"),
        code=code("quality"),
    shell:
        "python -m prdit quality --recipe {params.recipe:q} --ledger {input.ledger}"
        " --split {input.split} --summary {input.summary} --page {output.page} > {log} 2>&1"


rule curves:
    """What a training did is seen in its losses, not in its last number."""
    input:
        [
            path
            for dataset, size, model in plan.trained(CONFIG)
            for path in collect(
                rules.train.output.history, dataset=dataset, size=size, model=model
            )
        ],
    output:
        figure=report(
            "<results>/figures/losses.png",
            caption="../workflow/report/losses.rst",
            category="Trainings",
            labels={"figure": "losses"},
        ),
    log:
        "<results>/logs/curves.log",
    benchmark:
        "<results>/benchmarks/curves.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code("curves"),
    shell:
        "python -m prdit curves --histories {input} --figure {output.figure} > {log} 2>&1"


ALL_FIGURES = [
    *(
        path
        for figure, dataset in plan.figures(CONFIG)
        for path in collect(rules.figure.output.figure, figure=figure, dataset=dataset)
    ),
    *collect(rules.cavities.output.figure, dataset=plan.shown(CONFIG.figures.figure_6)),
    *collect(rules.figure_15.output.figure, dataset=plan.shown(CONFIG.figures.figure_15)),
    *(
        path
        for dataset, size in plan.scored_sizes(CONFIG)
        for path in collect(rules.closest.output.figure, dataset=dataset, size=size)
    ),
    *(rules.curves.output if plan.trained(CONFIG) else []),
]


rule site:
    """Everything a run made, in a folder that opens from disk."""
    input:
        tables=[
            *collect(rules.table.output.markdown, table=plan.tables(CONFIG)),
            *(rules.settings.output if plan.has_settings(CONFIG) else []),
            *(rules.all_metrics.output if plan.scored(CONFIG) else []),
        ],
        cards=rules.scores.input[: len(rules.scores.input.floors) + len(rules.scores.input.scores)],
        figures=ALL_FIGURES,
        quality=collect(rules.quality.output.page, dataset=CONFIG.datasets),
        costs=rules.costs.output.table,
        reals=[
            collect(rules.pack.output.array, dataset=dataset, size=size)
            for dataset, size in plan.viewed(CONFIG)[0]
        ],
        samples=[
            collect(rules.sample.output.card, portion=plan.portions(CONFIG)[0], **one._asdict())
            for one in plan.viewed(CONFIG)[1]
        ],
    output:
        site=directory("<results>/report"),
    log:
        "<results>/logs/site.log",
    benchmark:
        "<results>/benchmarks/site.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        recipe=recipe(plan.site_recipe),
        code=code("site"),
    shell:
        "python -m prdit site --recipe {params.recipe:q} --tables {input.tables}"
        " --cards {input.cards} --figures {input.figures} --quality {input.quality}"
        " --costs {input.costs} --reals {input.reals} --samples {input.samples}"
        " --site {output.site} > {log} 2>&1"
