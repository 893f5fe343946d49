# Stage report. In: the tables of all stages. Out: one page that a person reads.


rule make_report:
    input:
        knowledge="<results>/knowledge/entities.parquet",
        queries="<results>/queries/queries.parquet",
        candidates="<results>/search/candidates.parquet",
        downloads=expand("<results>/download/{batch}.manifest.parquet", batch=BATCHES),
        leftovers=expand(
            "<results>/download/{lane}-leftovers.manifest.parquet", lane=LANES
        ),
        features=expand("<results>/curate/{batch}.features.parquet", batch=FETCHED),
        decisions="<results>/curate/decisions.parquet",
        dataset="<results>/dataset/manifest.parquet",
        metrics=expand(
            "<results>/models/{experiment}/metrics.json", experiment=EXPERIMENTS
        ),
        predictions=expand(
            "<results>/evaluation/{experiment}/{benchmark}.parquet",
            experiment=MODELS,
            benchmark=BENCHMARKS,
        ),
        scores=rules.gather_scores.output[:3] if BENCHMARKS else [],
        truth=(
            ["<results>/mirror/scores.parquet", "<results>/mirror/misses.parquet"]
            if "mirror" in config
            else []
        ),
    output:
        page="<results>/report/index.html",
        provenance="<results>/provenance/make_report.json",
    log:
        "<logs>/make_report.log",
    benchmark:
        "<benchmarks>/make_report.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=grows(8000),
        runtime=grows(60),
    params:
        settings=settings("make_report"),
        code=code("make_report"),
        results=subpath(output.page, ancestor=2),
    shell:
        "python scripts/make_report.py --results {params.results} --output {output.page}"
        " --provenance {output.provenance} > {log} 2>&1"
