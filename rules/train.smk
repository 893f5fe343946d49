# Stage train. In: the dataset. Out: a model a experiment, in open_clip's form; checkpoints lie beside it, undeclared.


rule train_model:
    input:
        dataset="<results>/dataset/manifest.parquet",
        start=lambda wildcards: start_of(wildcards.experiment),
    output:
        model_config="<results>/models/{experiment}/open_clip_config.json",
        weights="<results>/models/{experiment}/open_clip_model.safetensors",
        metrics="<results>/models/{experiment}/metrics.json",
        provenance="<results>/provenance/train_model.{experiment}.json",
    log:
        "<logs>/train_model.{experiment}.log",
    benchmark:
        "<benchmarks>/train_model.{experiment}.tsv"
    conda:
        "../envs/train.yaml"
    threads: 8
    resources:
        mem_mb=grows(32000),
        runtime=1440,
        gpu=0,
    params:
        # No hash of the code: a comment must not retrain a model. config: train.recipe_version stands for it.
        recipe=lambda wildcards: recipe_of(wildcards.experiment),
        folder=subpath(output.metrics, parent=True),
    shell:
        "python scripts/train_model.py --dataset {input.dataset} --experiment {wildcards.experiment}"
        " --output {params.folder} --threads {threads} --processes {resources.gpu}"
        " --provenance {output.provenance} > {log} 2>&1"
