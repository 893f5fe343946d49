# kg2clip: from a knowledge graph to a CLIP model.
#
#   knowledge -> queries -> search -> download -> curate -> dataset -> train -> evaluate -> report
#
# Each stage has one file in rules/, one package in scripts/kg2clip/ and its own section in config/config.yaml.

from snakemake.utils import min_version

min_version("9.20")  # runtime in profiles counts in minutes from here on


include: "rules/config.smk"
include: "rules/common.smk"
include: "rules/knowledge.smk"
include: "rules/queries.smk"
include: "rules/search.smk"
include: "rules/download.smk"
include: "rules/curate.smk"
include: "rules/dataset.smk"
include: "rules/train.smk"
include: "rules/evaluate.smk"
include: "rules/mirror.smk"
include: "rules/report.smk"


rule all:
    default_target: True
    input:
        targets(),
