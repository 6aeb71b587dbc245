rule phantom:
    """Phantoms stand where no real scans are at hand; they are DICOM series like any other."""
    output:
        verified="<raw>/{dataset}/{shard}/verified.json",
    log:
        "<results>/logs/phantom/{dataset}/{shard}.log",
    benchmark:
        "<results>/benchmarks/phantom/{dataset}/{shard}.tsv"
    wildcard_constraints:
        dataset=of_kind(Phantom),
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        recipe=recipe(plan.raw_recipe, "dataset", "shard"),
        code=code("phantom"),
    shell:
        "python -m prdit phantom --recipe {params.recipe:q} --verified {output.verified} > {log} 2>&1"


rule fetch:
    """A download ends in a list of what was verified, so that a broken one is never mistaken for whole."""
    output:
        verified="<raw>/{dataset}/{shard}/verified.json",
    log:
        "<results>/logs/fetch/{dataset}/{shard}.log",
    benchmark:
        "<results>/benchmarks/fetch/{dataset}/{shard}.tsv"
    wildcard_constraints:
        dataset=of_kind(ImagingDataCommons),
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=2000,
        runtime=240,
        download=1,
    params:
        recipe=recipe(plan.raw_recipe, "dataset", "shard"),
        code=code("fetch"),
    shell:
        "python -m prdit fetch --recipe {params.recipe:q} --verified {output.verified} > {log} 2>&1"


rule preprocess:
    """Volumes stay in HU, so that another window costs no resampling."""
    input:
        verified=rules.phantom.output.verified,
    output:
        quality="<results>/volumes/{dataset}/{shard}/quality.csv",
    log:
        "<results>/logs/preprocess/{dataset}/{shard}.log",
    benchmark:
        "<results>/benchmarks/preprocess/{dataset}/{shard}.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        recipe=recipe(plan.preprocess_recipe, "dataset"),
        code=code("preprocess-shard"),
    shell:
        "python -m prdit preprocess-shard --recipe {params.recipe:q}"
        " --verified {input.verified} --quality {output.quality} > {log} 2>&1"


rule ledger:
    """Every series is accounted for in one place, and patients are split once for all models."""
    input:
        shards=lambda wildcards: collect(
            "<results>/volumes/{{dataset}}/{shard}/quality.csv",
            shard=plan.shards(CONFIG, wildcards.dataset),
        ),
    output:
        ledger="<results>/volumes/{dataset}/quality.csv",
        split="<results>/volumes/{dataset}/split.csv",
    log:
        "<results>/logs/ledger/{dataset}.log",
    benchmark:
        "<results>/benchmarks/ledger/{dataset}.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        recipe=recipe(plan.ledger_recipe, "dataset"),
        code=code("ledger"),
    shell:
        "python -m prdit ledger --recipe {params.recipe:q} --shards {input.shards}"
        " --ledger {output.ledger} --split {output.split} > {log} 2>&1"


rule pack:
    """One array per size loads in a second, where a thousand files take minutes at every start."""
    input:
        split=rules.ledger.output.split,
    output:
        array="<results>/volumes/{dataset}/{size}.npy",
        index="<results>/volumes/{dataset}/{size}.json",
    log:
        "<results>/logs/pack/{dataset}/{size}.log",
    benchmark:
        "<results>/benchmarks/pack/{dataset}/{size}.tsv"
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=8000,
        runtime=240,
    params:
        recipe=recipe(plan.pack_recipe, "dataset", "size"),
        code=code("pack"),
    shell:
        "python -m prdit pack --recipe {params.recipe:q} --split {input.split}"
        " --array {output.array} --index {output.index} > {log} 2>&1"
