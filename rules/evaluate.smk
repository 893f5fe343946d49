# Stage evaluate. In: models and benchmarks. Out: stored predictions, and scores made from them alone.


rule evaluate_model:
    input:
        model=model_files,
        benchmark=test_set,
        pictures=lambda wildcards: benchmark_files(wildcards.benchmark),
        dataset="<results>/dataset/manifest.parquet",
        entities="<results>/knowledge/entities.parquet",
        decisions="<results>/curate/decisions.parquet",
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
        model=model_name,
        benchmark_path=subpath(input.benchmark, ancestor=2),
    shell:
        "python scripts/evaluate_model.py --model {params.model} --benchmark-name {wildcards.benchmark}"
        " --benchmark {params.benchmark_path:q} --dataset {input.dataset} --entities {input.entities}"
        " --decisions {input.decisions} --output {output.predictions} --threads {threads} --provenance {output.provenance} > {log} 2>&1"


rule evaluate_own:
    input:
        model=model_files,
        dataset="<results>/dataset/manifest.parquet",
        entities="<results>/knowledge/entities.parquet",
    output:
        names="<results>/evaluation/{experiment}/own.parquet",
        texts="<results>/evaluation/{experiment}/own-texts.parquet",
        provenance="<results>/provenance/evaluate_own.{experiment}.json",
    log:
        "<logs>/evaluate_own.{experiment}.log",
    benchmark:
        "<benchmarks>/evaluate_own.{experiment}.tsv"
    conda:
        "../envs/train.yaml"
    threads: 4
    resources:
        mem_mb=grows(16000),
        runtime=grows(240),
    params:
        settings=settings("evaluate_own"),
        code=code("evaluate_own"),
        model=model_name,
    shell:
        "python scripts/evaluate_own.py --model {params.model} --dataset {input.dataset} --entities {input.entities}"
        " --names {output.names} --texts {output.texts} --threads {threads} --provenance {output.provenance} > {log} 2>&1"


rule gather_scores:
    input:
        predictions=expand(
            "<results>/evaluation/{experiment}/{benchmark}.parquet",
            experiment=MODELS,
            benchmark=EVALUATED,
        ),
    output:
        scores="<results>/evaluation/scores.parquet",
        groups="<results>/evaluation/groups.parquet",
        comparisons="<results>/evaluation/comparisons.parquet",
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
        " --groups {output.groups} --comparisons {output.comparisons} --provenance {output.provenance} > {log} 2>&1"
