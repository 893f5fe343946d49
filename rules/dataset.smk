# Stage dataset. In: kept pictures and everything known of them. Out: mixed shards of equal size, with papers.


rule pack_dataset:
    input:
        entities="<results>/knowledge/entities.parquet",
        queries="<results>/queries/queries.parquet",
        candidates="<results>/search/candidates.parquet",
        features=expand("<results>/curate/{batch}.features.parquet", batch=FETCHED),
        decisions="<results>/curate/decisions.parquet",
    output:
        manifest="<results>/dataset/manifest.parquet",
        croissant="<results>/dataset/croissant.json",
        card="<results>/dataset/README.md",
        attribution="<results>/dataset/attribution.csv",
        provenance="<results>/provenance/pack_dataset.json",
    log:
        "<logs>/pack_dataset.log",
    benchmark:
        "<benchmarks>/pack_dataset.tsv"
    conda:
        "../envs/curate.yaml"
    threads: 2
    resources:
        mem_mb=grows(16000),
        runtime=grows(240),
    params:
        settings=settings("pack_dataset"),
        code=code("pack_dataset"),
        folder=subpath(output.manifest, parent=True),
        taken_down=taken_down(),
    shell:
        "python scripts/pack_dataset.py --entities {input.entities} --queries {input.queries}"
        " --candidates {input.candidates} --features {input.features} --decisions {input.decisions}"
        " --output-dir {params.folder} --workers {threads} --provenance {output.provenance} > {log} 2>&1"
