from snakemake.utils import min_version

min_version("9.27")


if not config:

    configfile: "config/paper.yaml"


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/train.smk"
include: "rules/sample.smk"
include: "rules/score.smk"
include: "rules/tables.smk"
include: "rules/report.smk"
include: "rules/targets.smk"


rule all:
    """Everything the config asks for: its tables and figures, and what became of every scan."""
    default_target: True
    input:
        collect(rules.table.output, table=experiments.tables(CONFIG)),
        all_figures(),
        collect(rules.quality.output.page, dataset=CONFIG.datasets),
        rules.site.output if experiments.tables(CONFIG) else [],
