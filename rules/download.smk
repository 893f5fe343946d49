# Stage download. In: candidates. Out: one manifest a batch; the raw tars lie beside it, undeclared, so that a killed job goes on.


rule fetch_batch:
    input:
        candidates="<results>/search/candidates.parquet",
    output:
        manifest="<results>/download/{batch}.manifest.parquet",
        provenance="<results>/provenance/fetch_batch.{batch}.json",
    log:
        "<logs>/fetch_batch.{batch}.log",
    benchmark:
        "<benchmarks>/fetch_batch.{batch}.tsv"
    conda:
        "../envs/download.yaml"
    resources:
        **lane_resources(),
        mem_mb=grows(4000),
        runtime=1440,
    params:
        settings=settings("fetch_batch"),
        code=code("fetch_batch"),
    shell:
        "python scripts/fetch_batch.py --candidates {input.candidates} --batch {wildcards.batch}"
        " --output {output.manifest} --provenance {output.provenance} > {log} 2>&1"
