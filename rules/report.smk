# Stage report. In: the tables of all stages. Out: one page that a person reads, and a card for each model.


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
            benchmark=EVALUATED,
        ),
        scores=rules.gather_scores.output[:3] if EVALUATED else [],
        published=["config/published.yaml"] if config["evaluate"]["published"] else [],
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


rule write_card:
    input:
        metrics="<results>/models/{experiment}/metrics.json",
        graph="<results>/provenance/export_entities.json",
        scores=rules.gather_scores.output.scores if EVALUATED else [],
    output:
        card="<results>/models/{experiment}/README.md",
        provenance="<results>/provenance/write_card.{experiment}.json",
    log:
        "<logs>/write_card.{experiment}.log",
    benchmark:
        "<benchmarks>/write_card.{experiment}.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
    params:
        settings=settings("write_card"),
        code=code("write_card"),
        scores=lambda wildcards, input: (
            f"--scores {input.scores}" if EVALUATED else ""
        ),
    shell:
        "python scripts/write_card.py --metrics {input.metrics} --graph {input.graph} {params.scores}"
        " --output {output.card} --provenance {output.provenance} > {log} 2>&1"
