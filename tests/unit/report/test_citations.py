"""What the report says to cite: what the run used, and nothing else."""

from __future__ import annotations

import re
from typing import Any

from kg2clip.report import citations, filters


def test_the_graph_and_the_sources_of_the_config_are_cited_with_their_day(run: Any) -> None:
    run.settings["search"]["sources"] = {"inaturalist": {}, "folder": {}}
    run.settings["knowledge"]["endpoint"] = "https://qlever.dev/api/wikidata"
    records = [
        {"source": "inaturalist", "date": "2026-11-20T10:00:00Z"},
        {"source": "gbifdownload", "doi": "10.15468/dl.np3k7j", "date": "2026-11-21T10:00:00Z"},
    ]
    works = citations.gather(run.settings, records)
    assert [work.reason for work in works[4:]] == [
        "the knowledge graph",
        "the graph's query engine",
        "pictures of inaturalist",
        "pictures of gbifdownload",
    ]
    assert works[-2].text.endswith("Accessed 2026-11-20.")
    assert works[-1].url == "https://doi.org/10.15468/dl.np3k7j"


def test_a_run_on_the_mirror_cites_no_source(run: Any) -> None:
    works = citations.gather({**run.settings, "mirror": {}}, [])
    assert {work.reason for work in works} == {"the method", "the kind of model", "models and losses", "the workflow"}


def test_every_work_has_a_year_and_a_usable_address() -> None:
    works = [work for work in vars(citations).values() if isinstance(work, citations.Citation)]
    assert len(works) == 6
    for work in works:
        assert re.search(r"\((19|20)\d\d\)", work.text)
        assert filters.safe_url(work.url) and work.url.startswith("https://")
