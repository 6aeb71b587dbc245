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
        recipe=recipe(shards.raw_recipe, "dataset", "shard"),
        code=code("phantom"),
    shell:
        "python -m prdit phantom --recipe {params.recipe:q} --verified {output.verified} > {log} 2>&1"


rule fetch_series:
    """A download ends in a list of what was verified, so that a broken one is never mistaken for whole."""
    output:
        verified="<raw>/{dataset}/{shard}/verified.json",
    log:
        "<results>/logs/fetch_series/{dataset}/{shard}.log",
    benchmark:
        "<results>/benchmarks/fetch_series/{dataset}/{shard}.tsv"
    wildcard_constraints:
        dataset=of_kind(ImagingDataCommons),
    localrule: CONFIG.local_downloads
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=2000,
        runtime=240,
        download=1,
    params:
        recipe=recipe(shards.raw_recipe, "dataset", "shard"),
        code=code("fetch-series"),
    shell:
        "python -m prdit fetch-series --recipe {params.recipe:q} --verified {output.verified} > {log} 2>&1"


rule list_record:
    """What a record holds is asked once: its jobs then agree on whose scan is whose."""
    output:
        manifest="<raw>/{dataset}/manifest.csv",
    log:
        "<results>/logs/list_record/{dataset}.log",
    benchmark:
        "<results>/benchmarks/list_record/{dataset}.tsv"
    wildcard_constraints:
        dataset=of_kind(Zenodo),
    localrule: CONFIG.local_downloads
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=2000,
        runtime=60,
        download=1,
    params:
        recipe=recipe(instructions.record_recipe, "dataset"),
        code=code("list-record"),
    shell:
        "python -m prdit list-record --recipe {params.recipe:q} --manifest {output.manifest} > {log} 2>&1"


rule fetch_scans:
    """As for series: a list of what was verified comes last."""
    input:
        manifest=rules.list_record.output.manifest,
    output:
        verified="<raw>/{dataset}/{shard}/verified.json",
    log:
        "<results>/logs/fetch_scans/{dataset}/{shard}.log",
    benchmark:
        "<results>/benchmarks/fetch_scans/{dataset}/{shard}.tsv"
    wildcard_constraints:
        dataset=of_kind(Zenodo),
    localrule: CONFIG.local_downloads
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=2000,
        runtime=480,
        download=1,
    params:
        recipe=recipe(shards.raw_recipe, "dataset", "shard"),
        code=code("fetch-scans"),
    shell:
        "python -m prdit fetch-scans --recipe {params.recipe:q} --manifest {input.manifest}"
        " --verified {output.verified} > {log} 2>&1"


rule look_through:
    """A user's own scans stay where they are; what they consist of is written down."""
    output:
        verified="<raw>/{dataset}/{shard}/verified.json",
    log:
        "<results>/logs/look_through/{dataset}/{shard}.log",
    benchmark:
        "<results>/benchmarks/look_through/{dataset}/{shard}.tsv"
    wildcard_constraints:
        dataset=of_kind(Folder),
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        recipe=recipe(shards.raw_recipe, "dataset", "shard"),
        code=code("look-through"),
    shell:
        "python -m prdit look-through --recipe {params.recipe:q} --verified {output.verified} > {log} 2>&1"


rule fetch_weights:
    """Published weights come before any training, so that a run does not end for them."""
    output:
        weights=experiments.published_weights(CONFIG) or ["<results>/no-weights"],
    log:
        "<results>/logs/fetch_weights.log",
    benchmark:
        "<results>/benchmarks/fetch_weights.tsv"
    localrule: CONFIG.local_downloads
    conda:
        "../envs/data.yaml"
    resources:
        mem_mb=1000,
        runtime=60,
        download=1,
    params:
        code=code("fetch-weights"),
    shell:
        "python -m prdit fetch-weights --weights {output.weights} > {log} 2>&1"


rule preprocess:
    """Volumes stay in HU, so that another window costs no resampling."""
    input:
        # Made by the rule of the kind of the data set's source.
        verified="<raw>/{dataset}/{shard}/verified.json",
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
        recipe=recipe(instructions.preprocess_recipe, "dataset"),
        code=code("preprocess-shard"),
    shell:
        "python -m prdit preprocess-shard --recipe {params.recipe:q}"
        " --verified {input.verified} --quality {output.quality} > {log} 2>&1"


rule ledger:
    """Every series is accounted for in one place, and patients are split once for all models."""
    input:
        shards=lambda wildcards: collect(
            rules.preprocess.output.quality,
            shard=shards.shards(CONFIG, wildcards.dataset),
            allow_missing=True,
        ),
    output:
        ledger="<results>/volumes/{dataset}/quality.csv",
        split="<results>/volumes/{dataset}/split.csv",
        summary="<results>/volumes/{dataset}/summary.json",
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
        recipe=recipe(instructions.ledger_recipe, "dataset"),
        code=code("ledger"),
    shell:
        "python -m prdit ledger --recipe {params.recipe:q} --shards {input.shards}"
        " --ledger {output.ledger} --split {output.split} --summary {output.summary} > {log} 2>&1"


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
        recipe=recipe(instructions.pack_recipe, "dataset", "size"),
        code=code("pack"),
    shell:
        "python -m prdit pack --recipe {params.recipe:q} --split {input.split}"
        " --array {output.array} --index {output.index} > {log} 2>&1"
