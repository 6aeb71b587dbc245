from snakemake.utils import min_version

min_version("9.27")


if not config:

    configfile: "config/paper.yaml"


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/train.smk"
include: "rules/sample.smk"
include: "rules/score.smk"
include: "rules/report.smk"


rule all:
    """Everything the config asks for: its tables and figures, and what became of every scan."""
    default_target: True
    input:
        collect(rules.table.output, table=plan.tables(CONFIG)),
        rules.all_metrics.output if plan.scored(CONFIG) else [],
        rules.settings.output if CONFIG.tables.table_1 else [],
        [collect(rules.closest.output, dataset=d, size=n) for d, n in plan.scored_sizes(CONFIG)],
        [collect(rules.figure.output, figure=f, dataset=d) for f, d in plan.figures(CONFIG)],
        [collect(rules.cavities.output, dataset=d) for d in plan.shown(CONFIG.figures.figure_6)],
        [collect(rules.figure_15.output, dataset=d) for d in plan.shown(CONFIG.figures.figure_15)],
        collect(rules.quality.output.page, dataset=CONFIG.datasets),
