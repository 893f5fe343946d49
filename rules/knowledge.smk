# Stage knowledge. In: a SPARQL endpoint. Out: entities with names, ancestors and attributes.


rule export_entities:
    input:
        # your own table of attributes, if you have one
        [config["knowledge"]["attributes"]["file"]]
        if config["knowledge"]["attributes"]["file"]
        else [],
    output:
        entities="<results>/knowledge/entities.parquet",
        provenance="<results>/provenance/export_entities.json",
    log:
        "<logs>/export_entities.log",
    benchmark:
        "<benchmarks>/export_entities.tsv"
    conda:
        "../envs/knowledge.yaml"
    resources:
        mem_mb=grows(4000),
        runtime=grows(120),
    params:
        settings=settings("export_entities"),
        code=code("export_entities"),
    shell:
        "python scripts/export_entities.py --output {output.entities} --provenance {output.provenance} > {log} 2>&1"
