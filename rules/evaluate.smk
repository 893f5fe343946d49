# Stage evaluate. In: models and benchmarks. Out: stored predictions, and scores made from them alone.


rule evaluate_model:
    input:
        weights="<results>/models/{experiment}/open_clip_model.safetensors",
        model_config="<results>/models/{experiment}/open_clip_config.json",
        classes=lambda wildcards: f"{BENCHMARKS[wildcards.benchmark]['path']}/classnames.txt",
    output:
        predictions="<results>/evaluation/{experiment}/{benchmark}.parquet",
        provenance="<results>/provenance/evaluate_model.{experiment}.{benchmark}.json",
    log:
        "<logs>/evaluate_model.{experiment}.{benchmark}.log",
    benchmark:
        "<benchmarks>/evaluate_model.{experiment}.{benchmark}.tsv"
    conda:
        "../envs/train.yaml"
    threads: 4
    resources:
        mem_mb=grows(16000),
        runtime=grows(240),
    params:
        settings=settings("evaluate_model"),
        code=code("evaluate_model"),
        model=subpath(input.weights, parent=True),
        benchmark_path=subpath(input.classes, parent=True),
    shell:
        "python scripts/evaluate_model.py --model {params.model} --benchmark-name {wildcards.benchmark}"
        " --benchmark {params.benchmark_path} --output {output.predictions} --threads {threads}"
        " --provenance {output.provenance} 2>&1 | tee {log}"


rule gather_scores:
    input:
        predictions=expand(
            "<results>/evaluation/{experiment}/{benchmark}.parquet",
            experiment=EXPERIMENTS,
            benchmark=BENCHMARKS,
        ),
    output:
        scores="<results>/evaluation/scores.parquet",
        provenance="<results>/provenance/gather_scores.json",
    log:
        "<logs>/gather_scores.log",
    benchmark:
        "<benchmarks>/gather_scores.tsv"
    conda:
        "../envs/train.yaml"
    resources:
        mem_mb=grows(8000),
        runtime=grows(60),
    params:
        settings=settings("gather_scores"),
        code=code("gather_scores"),
    shell:
        "python scripts/gather_scores.py --predictions {input.predictions} --output {output.scores}"
        " --provenance {output.provenance} 2>&1 | tee {log}"
