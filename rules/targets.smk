# Parts of the workflow by name: `snakemake --configfile config/paper.yaml -- data`.
# They run nothing, so that Snakemake never submits them.


rule data:
    """Scans fetched, preprocessed, accounted for and packed; pages to look at."""
    input:
        collect(rules.quality.output.page, dataset=CONFIG.datasets),
        files(rules.pack.output.array, experiments.trained(CONFIG)),


rule weights:
    """All models trained."""
    input:
        files(rules.train.output.weights, experiments.trained(CONFIG)),


rule samples:
    """All volumes drawn."""
    input:
        [sample_cards(one, **one._asdict()) for one in experiments.scored(CONFIG)],


rule metrics:
    """All scores and critics."""
    input:
        rules.scores.output.table,
        rules.critics.output.table,


rule tables:
    """All tables. One of them: its name, such as table_3."""
    input:
        collect(rules.table.output, table=experiments.tables(CONFIG)),


rule figures:
    """All figures."""
    input:
        all_figures(),


for table in experiments.tables(CONFIG):

    rule:
        name:
            table
        input:
            collect(rules.table.output, table=table),


rule pretrained:
    """Scores of the models whose weights the config gives; nothing is trained."""
    input:
        scores_of_taken,
