# Stage curate. In: raw pictures. Out: decoded pictures with their features, and a decision on every candidate.


rule decode_batch:
    input:
        downloads="<results>/download/{batch}.manifest.parquet",
    output:
        features="<results>/curate/{batch}.features.parquet",
        provenance="<results>/provenance/decode_batch.{batch}.json",
    log:
        "<logs>/decode_batch.{batch}.log",
    benchmark:
        "<benchmarks>/decode_batch.{batch}.tsv"
    conda:
        "../envs/curate.yaml"
    threads: 2
    resources:
        mem_mb=grows(4000),
        runtime=grows(240),
    params:
        settings=settings("decode_batch"),
        code=code("decode_batch"),
    shell:
        "python scripts/decode_batch.py --downloads {input.downloads} --output {output.features}"
        " --workers {threads} --provenance {output.provenance} > {log} 2>&1"


# Runs only where curate.fit_model names a model.
rule fit_pictures:
    input:
        features="<results>/curate/{batch}.features.parquet",
        candidates="<results>/search/candidates.parquet",
        entities="<results>/knowledge/entities.parquet",
    output:
        fits="<results>/curate/{batch}.fit.parquet",
        provenance="<results>/provenance/fit_pictures.{batch}.json",
    log:
        "<logs>/fit_pictures.{batch}.log",
    benchmark:
        "<benchmarks>/fit_pictures.{batch}.tsv"
    conda:
        "../envs/train.yaml"
    threads: 4
    resources:
        mem_mb=grows(16000),
        runtime=grows(240),
    params:
        settings=settings("fit_pictures"),
        code=code("fit_pictures"),
    shell:
        "python scripts/fit_pictures.py --features {input.features} --candidates {input.candidates}"
        " --entities {input.entities} --output {output.fits} --threads {threads}"
        " --provenance {output.provenance} > {log} 2>&1"


rule decide_pictures:
    input:
        candidates="<results>/search/candidates.parquet",
        entities="<results>/knowledge/entities.parquet",
        downloads=expand("<results>/download/{batch}.manifest.parquet", batch=BATCHES),
        leftovers=expand(
            "<results>/download/{lane}-leftovers.manifest.parquet", lane=LANES
        ),
        features=expand("<results>/curate/{batch}.features.parquet", batch=FETCHED),
        fits=expand("<results>/curate/{batch}.fit.parquet", batch=FITTED),
        benchmarks=[file for name in BENCHMARKS for file in benchmark_files(name)],
    output:
        decisions="<results>/curate/decisions.parquet",
        provenance="<results>/provenance/decide_pictures.json",
    log:
        "<logs>/decide_pictures.log",
    benchmark:
        "<benchmarks>/decide_pictures.tsv"
    conda:
        "../envs/curate.yaml"
    threads: 2
    resources:
        mem_mb=grows(16000),
        runtime=grows(240),
    params:
        settings=settings("decide_pictures"),
        code=code("decide_pictures"),
    shell:
        "python scripts/decide_pictures.py --candidates {input.candidates} --entities {input.entities} --downloads {input.downloads} {input.leftovers}"
        " --features {input.features} --fits {input.fits} --workers {threads} --output {output.decisions}"
        " --provenance {output.provenance} > {log} 2>&1"
