rule train:
    """One rule trains every model; stage 2 differs from stage 1 by what it starts from."""
    input:
        volumes=rules.pack.output.array,
        start_from=start_from,
        perceptual=lambda wildcards: experiments.perceptual_weights(CONFIG.models[wildcards.model]),
    output:
        weights="<results>/models/{dataset}/{size}/{model}/weights.safetensors",
        record="<results>/models/{dataset}/{size}/{model}/run.json",
        history="<results>/models/{dataset}/{size}/{model}/training.jsonl",
    log:
        "<results>/logs/train/{dataset}/{size}/{model}.log",
    benchmark:
        "<results>/benchmarks/train/{dataset}/{size}/{model}.tsv"
    wildcard_constraints:
        model=any_of(sorted(set(CONFIG.models) - set(TAKEN))),
    conda:
        torch_environment("train")
    resources:
        mem_mb=32000,
        runtime=2880,
        batch=16,
        gpu=1,
        processes=1,
        adopt="no",
        time_limit=0,
    params:
        recipe=recipe(instructions.train_recipe, "dataset", "model", "size"),
        code=lambda wildcards: code("train", CONFIG.models[wildcards.model].generator),
    shell:
        "python -m prdit train --recipe {params.recipe:q} --code {params.code}"
        " --volumes {input.volumes} --start-from {input.start_from}"
        " --perceptual {input.perceptual:q}"
        " --weights {output.weights} --record {output.record} --history {output.history}"
        " --batch {resources.batch} --processes {resources.processes} --threads {threads}"
        " --adopt {resources.adopt} --time-limit {resources.time_limit} > {log} 2>&1"


rule take:
    """Weights that someone has trained before are scored like those trained here."""
    input:
        file=lambda wildcards: CONFIG.models[wildcards.model].weights,
        volumes=rules.pack.output.array,
    output:
        weights="<results>/models/{dataset}/{size}/{model}/weights.safetensors",
        record="<results>/models/{dataset}/{size}/{model}/run.json",
        history="<results>/models/{dataset}/{size}/{model}/training.jsonl",
    log:
        "<results>/logs/take/{dataset}/{size}/{model}.log",
    benchmark:
        "<results>/benchmarks/take/{dataset}/{size}/{model}.tsv"
    wildcard_constraints:
        model=any_of(TAKEN),
    conda:
        torch_environment("train")
    resources:
        mem_mb=8000,
        runtime=30,
    params:
        recipe=recipe(instructions.train_recipe, "dataset", "model", "size"),
        code=lambda wildcards: code("take", CONFIG.models[wildcards.model].generator),
    shell:
        "python -m prdit take --recipe {params.recipe:q} --file {input.file:q}"
        " --volumes {input.volumes} --weights {output.weights} --record {output.record}"
        " --history {output.history} > {log} 2>&1"
