# Stage queries. In: entities. Out: search queries.


rule build_queries:
    input:
        entities="<results>/knowledge/entities.parquet",
    output:
        queries="<results>/queries/queries.parquet",
        provenance="<results>/provenance/build_queries.json",
    log:
        "<logs>/build_queries.log",
    benchmark:
        "<benchmarks>/build_queries.tsv"
    conda:
        "../envs/knowledge.yaml"
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
    params:
        settings=settings("build_queries"),
        code=code("build_queries"),
    shell:
        "python scripts/build_queries.py --entities {input.entities} --output {output.queries}"
        " --provenance {output.provenance} > {log} 2>&1"
