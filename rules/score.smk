rule features_real:
    """Real features are taken once and serve every score of a data set."""
    input:
        real=rules.pack.output.array,
        weights=experiments.feature_weights(CONFIG),
    output:
        features="<results>/scores/{dataset}/{size}/real.npz",
    log:
        "<results>/logs/features_real/{dataset}/{size}.log",
    benchmark:
        "<results>/benchmarks/features_real/{dataset}/{size}.tsv"
    conda:
        torch_environment("score")
    resources:
        mem_mb=8000,
        runtime=60,
        batch=8,
        gpu=1,
    params:
        recipe=recipe(instructions.features_recipe),
        code=code("features"),
    shell:
        "python -m prdit features --recipe {params.recipe:q} --real {input.real}"
        " --features {output.features} --batch {resources.batch} --threads {threads} > {log} 2>&1"


rule features:
    """Features of a set of samples, stored once for all metrics."""
    input:
        cards=sample_cards,
        weights=experiments.feature_weights(CONFIG),
    output:
        features="<results>/scores/{dataset}/{size}/{model}/{sampler}/seed{seed}.npz",
    log:
        "<results>/logs/features/{dataset}/{size}/{model}/{sampler}/seed{seed}.log",
    benchmark:
        "<results>/benchmarks/features/{dataset}/{size}/{model}/{sampler}/seed{seed}.tsv"
    conda:
        torch_environment("score")
    resources:
        mem_mb=8000,
        runtime=60,
        batch=8,
        gpu=1,
    params:
        recipe=recipe(instructions.features_recipe),
        code=code("features"),
    shell:
        "python -m prdit features --recipe {params.recipe:q} --cards {input.cards}"
        " --features {output.features} --batch {resources.batch} --threads {threads} > {log} 2>&1"


rule score:
    """Distances of a set of samples from the real volumes."""
    input:
        real=rules.features_real.output.features,
        generated=rules.features.output.features,
    output:
        score="<results>/scores/{dataset}/{size}/{model}/{sampler}/seed{seed}.json",
    log:
        "<results>/logs/score/{dataset}/{size}/{model}/{sampler}/seed{seed}.log",
    benchmark:
        "<results>/benchmarks/score/{dataset}/{size}/{model}/{sampler}/seed{seed}.tsv"
    conda:
        torch_environment("score")
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        recipe=recipe(instructions.score_recipe, "dataset", "size", "model", "sampler", "seed"),
        code=code("score"),
    shell:
        "python -m prdit score --recipe {params.recipe:q} --real {input.real}"
        " --generated {input.generated} --score {output.score} > {log} 2>&1"


rule floor:
    """No score means anything without what real volumes themselves score against others."""
    input:
        real=rules.features_real.output.features,
    output:
        score="<results>/scores/{dataset}/{size}/real.json",
    log:
        "<results>/logs/floor/{dataset}/{size}.log",
    benchmark:
        "<results>/benchmarks/floor/{dataset}/{size}.tsv"
    conda:
        torch_environment("score")
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        recipe=recipe(instructions.score_recipe, "dataset", "size"),
        code=code("score"),
    shell:
        "python -m prdit score --recipe {params.recipe:q} --real {input.real}"
        " --score {output.score} > {log} 2>&1"


rule critic:
    """A critic judges between two models; each pair and seed serves every table that asks for it."""
    input:
        real=rules.pack.output.array,
        first=sample_cards,
        second=lambda wildcards: sample_cards(
            wildcards, model=wildcards.rival, sampler=wildcards.rival_sampler
        ),
    output:
        score="<results>/critics/{dataset}/{size}/seed{seed}/{model}/{sampler}/{rival}/{rival_sampler}/{critic}.json",
    log:
        "<results>/logs/critic/{dataset}/{size}/seed{seed}/{model}/{sampler}/{rival}/{rival_sampler}/{critic}.log",
    benchmark:
        "<results>/benchmarks/critic/{dataset}/{size}/seed{seed}/{model}/{sampler}/{rival}/{rival_sampler}/{critic}.tsv"
    conda:
        torch_environment("train")
    resources:
        mem_mb=32000,
        runtime=720,
        batch=8,
        gpu=1,
        time_limit=0,
    params:
        recipe=recipe(
            instructions.critic_recipe,
            "dataset",
            "size",
            "seed",
            "model",
            "sampler",
            "rival",
            "rival_sampler",
            "critic",
        ),
        code=code("critic"),
    shell:
        "python -m prdit critic --recipe {params.recipe:q} --code {params.code} --real {input.real}"
        " --first {input.first} --second {input.second} --score {output.score}"
        " --batch {resources.batch} --threads {threads} --time-limit {resources.time_limit} > {log} 2>&1"
