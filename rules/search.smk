# Stage search. In: queries. Out: candidates: pictures found at the sources, not yet fetched.


rule search_images:
    input:
        entities="<results>/knowledge/entities.parquet",
        queries="<results>/queries/queries.parquet",
        earlier=lambda wildcards: earlier_hits(wildcards.search),
        own=own_files,
    output:
        hits="<results>/search/{search}.hits.parquet",
        provenance="<results>/provenance/search_images.{search}.json",
    log:
        "<logs>/search_images.{search}.log",
    benchmark:
        "<benchmarks>/search_images.{search}.tsv"
    conda:
        "../envs/search.yaml"
    resources:
        mem_mb=grows(4000),
        runtime=1440,
    params:
        settings=settings("search_images"),
        code=code("search_images"),
        pictures=own_pictures,
    shell:
        "python scripts/search_images.py --search {wildcards.search} --entities {input.entities} --queries {input.queries}"
        " --earlier {input.earlier} --output {output.hits} --provenance {output.provenance} > {log} 2>&1"


rule merge_candidates:
    input:
        hits=expand("<results>/search/{search}.hits.parquet", search=SEARCHES),
        entities="<results>/knowledge/entities.parquet",
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
        "python scripts/merge_candidates.py --hits {input.hits} --entities {input.entities} --output {output.candidates}"
        " --provenance {output.provenance} > {log} 2>&1"
