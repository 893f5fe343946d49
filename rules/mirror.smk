# The embedded mirror (demo and tests): what the chain decided, held against what was planted. No stage reads the truth.


rule score_against_truth:
    input:
        truth="<results>/mirror/truth.parquet",
        decisions="<results>/curate/decisions.parquet",
        dataset="<results>/dataset/manifest.parquet",
        hits=expand("<results>/search/{search}.hits.parquet", search=SEARCHES),
        entities="<results>/knowledge/entities.parquet",
    output:
        scores="<results>/mirror/scores.parquet",
        misses="<results>/mirror/misses.parquet",
        provenance="<results>/provenance/score_against_truth.json",
    log:
        "<logs>/score_against_truth.log",
    benchmark:
        "<benchmarks>/score_against_truth.tsv"
    conda:
        "../envs/report.yaml"
    resources:
        mem_mb=grows(4000),
        runtime=grows(30),
    params:
        code=code("score_against_truth"),
    shell:
        "python scripts/score_against_truth.py --truth {input.truth} --decisions {input.decisions}"
        " --dataset {input.dataset} --hits {input.hits} --entities {input.entities} --scores {output.scores} --misses {output.misses}"
        " --provenance {output.provenance} > {log} 2>&1"
