rule sample:
    """Samples are drawn in portions, so that a cluster shares them out and a lost one is redone alone."""
    input:
        # Where rule take leaves weights that are given, too.
        weights=rules.train.output.weights,
        record=rules.train.output.record,
    output:
        card="<results>/samples/{dataset}/{size}/{model}/{sampler}/seed{seed}/{portion}.json",
    log:
        "<results>/logs/sample/{dataset}/{size}/{model}/{sampler}/seed{seed}/{portion}.log",
    benchmark:
        "<results>/benchmarks/sample/{dataset}/{size}/{model}/{sampler}/seed{seed}/{portion}.tsv"
    conda:
        torch_environment("train")
    resources:
        mem_mb=8000,
        runtime=60,
        batch=8,
        gpu=1,
        adopt="no",
    params:
        recipe=recipe(instructions.sample_recipe, "size", "sampler", "seed", "portion"),
        code=lambda wildcards: code("sample", CONFIG.models[wildcards.model].generator),
    shell:
        "python -m prdit sample --recipe {params.recipe:q} --code {params.code}"
        " --weights {input.weights} --record {input.record} --card {output.card}"
        " --batch {resources.batch} --threads {threads} --adopt {resources.adopt} > {log} 2>&1"


rule time:
    """Times are taken with nothing else running, which is why this asks for all threads there are."""
    input:
        weights=rules.train.output.weights,
    output:
        timing="<results>/timings/{dataset}/{size}/{model}/{sampler}.json",
    log:
        "<results>/logs/time/{dataset}/{size}/{model}/{sampler}.log",
    benchmark:
        "<results>/benchmarks/time/{dataset}/{size}/{model}/{sampler}.tsv"
    conda:
        torch_environment("train")
    threads: 64
    resources:
        mem_mb=8000,
        runtime=60,
        gpu=1,
    params:
        recipe=recipe(instructions.time_recipe, "dataset", "size", "model", "sampler"),
        code=lambda wildcards: code("time", CONFIG.models[wildcards.model].generator),
    shell:
        "python -m prdit time --recipe {params.recipe:q} --weights {input.weights}"
        " --timing {output.timing} --threads {threads} > {log} 2>&1"


rule branches:
    """What each branch contributes is seen where they meet, at the model's last call."""
    input:
        weights=lambda wildcards: collect(
            rules.train.output.weights,
            size=CONFIG.figures.figure_15.size,
            model=CONFIG.figures.figure_15.model,
            allow_missing=True,
        ),
    output:
        volumes="<results>/branches/{dataset}.npz",
    log:
        "<results>/logs/branches/{dataset}.log",
    benchmark:
        "<results>/benchmarks/branches/{dataset}.tsv"
    conda:
        torch_environment("train")
    resources:
        mem_mb=8000,
        runtime=60,
        gpu=1,
    params:
        recipe=recipe(instructions.branches_recipe, "dataset"),
        code=code("branches"),
    shell:
        "python -m prdit branches --recipe {params.recipe:q} --weights {input.weights}"
        " --volumes {output.volumes} --threads {threads} > {log} 2>&1"
