"""What a paper about the run should cite: the method, the tools and the sources that this run used, and no others.

Where authors, titles and DOIs were looked up: arXiv's listing of 2505.02746 (the method); the README of open_clip_torch
3.3.0 (CLIP, OpenCLIP); Snakemake's documentation, for the DOI the README of snakefmt 2.1.0; korrekt.org, which is
Krötzsch's own (Wikidata); QLever's README, for authors and DOI the reference lists of others who cite it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kg2clip.report.results import Row
from kg2clip.settings import Settings


@dataclass(frozen=True)
class Citation:
    """A work, why it is cited, and where it is found."""

    reason: str
    text: str
    url: str


METHOD = Citation(
    "the method",
    "Ging S, Walter S, Bratulić J, Dienert J, Bast H, Brox T (2025). Using Knowledge Graphs to harvest datasets for "
    "efficient CLIP model training. German Conference on Pattern Recognition (GCPR).",
    "https://arxiv.org/abs/2505.02746",
)
CLIP = Citation(
    "the kind of model",
    "Radford A, Kim JW, Hallacy C, et al. (2021). Learning Transferable Visual Models From Natural Language "
    "Supervision. International Conference on Machine Learning (ICML).",
    "https://arxiv.org/abs/2103.00020",
)
OPEN_CLIP = Citation(
    "models and losses",
    "Ilharco G, Wortsman M, Wightman R, et al. (2021). OpenCLIP. Zenodo.",
    "https://doi.org/10.5281/zenodo.5143773",
)
SNAKEMAKE = Citation(
    "the workflow",
    "Mölder F, Jablonski KP, Letcher B, et al. (2021). Sustainable data analysis with Snakemake. F1000Research 10:33.",
    "https://doi.org/10.12688/f1000research.29032.2",
)
WIKIDATA = Citation(
    "the knowledge graph",
    "Vrandečić D, Krötzsch M (2014). Wikidata: A Free Collaborative Knowledgebase. Communications of the ACM "
    "57(10):78-85.",
    "https://doi.org/10.1145/2629489",
)
QLEVER = Citation(
    "the graph's query engine",
    "Bast H, Buchhold B (2017). QLever: A Query Engine for Efficient SPARQL+Text Search. Conference on Information and "
    "Knowledge Management (CIKM).",
    "https://doi.org/10.1145/3132847.3132921",
)
SITES = {
    "inaturalist": ("iNaturalist", "https://www.inaturalist.org"),
    "inaturalistopendata": (
        "iNaturalist Licensed Observation Images",
        "https://registry.opendata.aws/inaturalist-open-data",
    ),
    "gbif": ("GBIF: The Global Biodiversity Information Facility", "https://www.gbif.org"),
    "commons": ("Wikimedia Commons", "https://commons.wikimedia.org"),
}


def gather(settings: Settings, records: Sequence[Row]) -> tuple[Citation, ...]:
    """The works that apply: the graph and the sources as the config names them, with the day of the search."""
    works = (METHOD, CLIP, OPEN_CLIP, SNAKEMAKE)
    if "mirror" in settings:  # nothing was asked of the world
        return works
    graph = (WIKIDATA, QLEVER) if "qlever" in settings["knowledge"]["endpoint"] else (WIKIDATA,)
    sites = [_site(source, records) for source in settings["search"]["sources"] if source in SITES]
    return (*works, *graph, *sites, *_downloads(records))


def _site(source: str, records: Sequence[Row]) -> Citation:
    name, url = SITES[source]
    days = sorted(str(record.get("date", ""))[:10] for record in records if record.get("source") == source)
    asked = f" Accessed {days[-1]}." if days and days[-1] else ""
    return Citation(f"pictures of {source}", f"{name}.{asked}", url)


def _downloads(records: Sequence[Row]) -> list[Citation]:
    return [
        Citation(
            f"pictures of {record.get('source')}",
            f"GBIF.org ({str(record.get('date', ''))[:10]}). GBIF Occurrence Download.",
            f"https://doi.org/{record['doi']}",
        )
        for record in records
        if record.get("doi")
    ]
