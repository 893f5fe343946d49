# Stage search. In: queries. Out: candidates: pictures found at the sources, not yet fetched.


rule search_images:
    input:
        entities="<results>/knowledge/entities.parquet",
        queries="<results>/queries/queries.parquet",
        earlier=lambda wildcards: earlier_hits(wildcards.source),
    output:
        hits="<results>/search/{source}.hits.parquet",
        provenance="<results>/provenance/search_images.{source}.json",
    log:
        "<logs>/search_images.{source}.log",
    benchmark:
        "<benchmarks>/search_images.{source}.tsv"
    conda:
        "../envs/search.yaml"
    resources:
        mem_mb=grows(4000),
        runtime=1440,
    params:
        settings=settings("search_images"),
        code=code("search_images"),
    shell:
        "python scripts/search_images.py --source {wildcards.source} --entities {input.entities} --queries {input.queries}"
        " --earlier {input.earlier} --output {output.hits} --provenance {output.provenance} 2>&1 | tee {log}"


rule merge_candidates:
    input:
        hits=expand("<results>/search/{source}.hits.parquet", source=SOURCES),
    output:
        candidates="<results>/search/candidates.parquet",
        provenance="<results>/provenance/merge_candidates.json",
    log:
        "<logs>/merge_candidates.log",
    benchmark:
        "<benchmarks>/merge_candidates.tsv"
    conda:
        "../envs/search.yaml"
    resources:
        mem_mb=grows(8000),
        runtime=grows(60),
    params:
        code=code("merge_candidates"),
    shell:
        "python scripts/merge_candidates.py --hits {input.hits} --output {output.candidates}"
        " --provenance {output.provenance} 2>&1 | tee {log}"
