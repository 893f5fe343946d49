# Stage download. In: candidates. Out: one manifest a batch, and one a lane of what the batches left to it; the raw tars lie
# beside them, undeclared, so that a killed job goes on.


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
    wildcard_constraints:
        batch=r"[a-z][a-z0-9]*-\d{3}",
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


rule fetch_leftovers:
    input:
        candidates="<results>/search/candidates.parquet",
        manifests=expand("<results>/download/{batch}.manifest.parquet", batch=BATCHES),
    output:
        manifest="<results>/download/{lane}-leftovers.manifest.parquet",
        provenance="<results>/provenance/fetch_leftovers.{lane}.json",
    log:
        "<logs>/fetch_leftovers.{lane}.log",
    benchmark:
        "<benchmarks>/fetch_leftovers.{lane}.tsv"
    conda:
        "../envs/download.yaml"
    resources:
        **lane_resources(),
        mem_mb=grows(4000),
        runtime=1440,
    params:
        settings=settings("fetch_leftovers"),
        code=code("fetch_leftovers"),
    shell:
        "python scripts/fetch_leftovers.py --candidates {input.candidates} --manifests {input.manifests}"
        " --lane {wildcards.lane} --output {output.manifest} --provenance {output.provenance} > {log} 2>&1"
