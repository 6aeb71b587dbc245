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
        figure=any_of(sorted({name for name, _ in experiments.figures(CONFIG)})),
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        recipe=recipe(instructions.figure_recipe, "figure", "dataset"),
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
        recipe=recipe(instructions.cavities_recipe, "dataset"),
        code=code("cavities"),
    shell:
        "python -m prdit cavities --recipe {params.recipe:q} --real {input.real}"
        " --figure {output.figure} > {log} 2>&1"


rule figure_15:
    """A picture needs no GPU; what it shows was drawn by one."""
    input:
        volumes=rules.branches.output.volumes,
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
        recipe=recipe(instructions.branches_recipe, "dataset"),
        code=code("branches-figure"),
    shell:
        "python -m prdit branches-figure --recipe {params.recipe:q} --volumes {input.volumes}"
        " --figure {output.figure} > {log} 2>&1"


rule closest:
    """What a metric calls a copy, a person can judge."""
    input:
        scores=lambda wildcards: files(
            rules.score.output.score,
            [s for s in experiments.scored(CONFIG) if [*map(str, s[:2])] == [*wildcards]],
        ),
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
        recipe=recipe(instructions.quality_recipe, "dataset"),
        code=code("quality"),
    shell:
        "python -m prdit quality --recipe {params.recipe:q} --ledger {input.ledger}"
        " --split {input.split} --summary {input.summary} --page {output.page} > {log} 2>&1"


rule curves:
    """What a training did is seen in its losses, not in its last number."""
    input:
        files(rules.train.output.history, experiments.trained(CONFIG)),
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


rule stages:
    """What was spent where, as Snakemake measured it; there when all that costs much is done."""
    input:
        rules.scores.output.table,
        rules.critics.output.table,
        rules.costs.output.table,
    output:
        table="<results>/stages.csv",
        figure=report(
            "<results>/figures/stages.png",
            caption="../workflow/report/stages.rst",
            category="Costs",
            labels={"figure": "time per rule"},
        ),
    log:
        "<results>/logs/stages.log",
    benchmark:
        "<results>/benchmarks/stages.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        benchmarks=f"results/{CONFIG.name}/benchmarks",
        code=code("stages"),
    shell:
        "python -m prdit stages --benchmarks {params.benchmarks:q} --table {output.table}"
        " --figure {output.figure} > {log} 2>&1"


rule provenance:
    """Data, code, packages, commands and times of everything that the report shows."""
    input:
        all_figures(),
        rules.stages.output.figure,
        collect(rules.table.output.csv, table=experiments.tables(CONFIG)),
        summaries=collect(rules.ledger.output.summary, dataset=CONFIG.datasets),
        records=records_of(),
    output:
        made="<results>/provenance.json",
    log:
        "<results>/logs/provenance.log",
    benchmark:
        "<results>/benchmarks/provenance.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        recipe=recipe(instructions.provenance_recipe),
        code=code("provenance"),
    shell:
        "python -m prdit provenance --recipe {params.recipe:q} --summaries {input.summaries}"
        " --records {input.records} --made {output.made} > {log} 2>&1"


rule site:
    """Everything a run made, in a folder that opens from disk."""
    input:
        tables=[
            *collect(rules.table.output.markdown, table=experiments.tables(CONFIG)),
            *(rules.settings.output if instructions.has_settings(CONFIG) else []),
            *(rules.all_metrics.output if experiments.scored(CONFIG) else []),
        ],
        cards=scores_of(),
        figures=[*all_figures(), rules.stages.output.figure],
        quality=collect(rules.quality.output.page, dataset=CONFIG.datasets),
        costs=rules.costs.output.table,
        stages=rules.stages.output.table,
        provenance=rules.provenance.output.made,
        reals=files(rules.pack.output.array, experiments.viewed(CONFIG)[0]),
        samples=first_cards(experiments.viewed(CONFIG)[1]),
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
        recipe=recipe(instructions.site_recipe),
        code=code("site"),
        pages=[files_digest(PACKAGE / "report" / name) for name in ("templates", "static")],
    shell:
        "python -m prdit site --recipe {params.recipe:q} --tables {input.tables}"
        " --cards {input.cards} --figures {input.figures} --quality {input.quality}"
        " --costs {input.costs} --stages {input.stages} --provenance {input.provenance}"
        " --reals {input.reals} --samples {input.samples} --site {output.site} > {log} 2>&1"
