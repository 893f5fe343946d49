"""Hits become candidates: one for each picture, with all that found it and all its links."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from kg2clip import tables
from kg2clip.errors import UserError
from kg2clip.search.identity import picture_key
from kg2clip.search.merge import merge_hits

INAT = "https://inaturalist-open-data.s3.amazonaws.com/photos/17/medium.jpg"


def hit(candidate: str, key: str = "", **columns: Any) -> dict[str, Any]:
    return {
        "candidateID": candidate, "pictureKey": key or candidate, "queryID": f"q{candidate}", "entityID": "e1", "rank": 0,
        "source": "s", "accessURI": f"http://p.test/{candidate}", "license": "unknown", **columns,
    }  # fmt: skip


def merge(folder: Path, *sources: list[dict[str, Any]], entities: dict[str, list[str]] | None = None):
    """Merge hits, a list a source; give the candidates by candidateID, and the counts."""
    paths = []
    for number, rows in enumerate(sources):
        paths.append(folder / f"{number}.hits.parquet")
        tables.write(rows, tables.HITS, paths[-1])
    rows = [
        {"entityID": name, "ancestors": [{"entityID": a} for a in above]} for name, above in (entities or {}).items()
    ]
    tables.write(rows, tables.ENTITIES, folder / "entities.parquet")
    counts = merge_hits(paths, folder / "entities.parquet", folder / "candidates.parquet")
    found = tables.read(folder / "candidates.parquet").to_pylist()
    assert [row["candidateID"] for row in found] == sorted(row["candidateID"] for row in found)
    assert counts["hits"] == counts["candidates"] + counts["merged with another hit"] == sum(map(len, sources))
    return {row["candidateID"]: row for row in found}, counts


def test_several_queries_are_one_candidate_with_all_of_them(tmp_path: Path) -> None:
    rows = [hit("a", queryID=query, rank=rank, title=query) for query, rank in (("q2", 4), ("q1", 7), ("q2", 4))]
    found, counts = merge(tmp_path, rows)
    assert found["a"]["queryIDs"] == ["q1", "q2"] and found["a"]["rank"] == 4 and found["a"]["title"] == "q2"
    assert found["a"]["links"] is None and not found["a"]["conflict"]
    assert counts["candidates with several links"] == 0


def test_several_sources_are_one_candidate_and_the_other_links_stay(tmp_path: Path) -> None:
    first = [hit("b", "k", source="one", title="", queryID="q1")]
    second = [
        hit("a", "k", source="two", title="A title", description="Said there", queryID="q2", license="CC0-1.0",
            creator="Person 1"),
        hit("c", "k", source="two", title="Another", license="CC-BY-4.0", creator="Person 2", licenseURL="http://l.test/"),
    ]  # fmt: skip
    found, counts = merge(tmp_path, first, second)
    (row,) = found.values()
    assert (row["candidateID"], row["source"]) == ("b", "one"), "the source that was asked first stands for it"
    assert [(link["candidateID"], link["source"], link["accessURI"]) for link in row["links"]] == [
        ("a", "two", "http://p.test/a"), ("c", "two", "http://p.test/c"),
    ]  # fmt: skip
    assert (row["title"], row["description"]) == ("A title", "Said there"), "texts that it lacks come from the others"
    assert (row["license"], row["creator"], row["licenseURL"]) == ("CC0-1.0", "Person 1", None), (
        "of one link, not mixed"
    )
    assert row["queryIDs"] == ["q1", "q2", "qc"] and counts["candidates with several links"] == 1


def test_a_known_licence_stays(tmp_path: Path) -> None:
    found, _ = merge(
        tmp_path, [hit("a", "k", license="CC-BY-4.0", creator=None)], [hit("b", "k", license="CC0-1.0", creator="X")]
    )
    assert (found["a"]["license"], found["a"]["creator"]) == ("CC-BY-4.0", None)


def test_a_candidate_with_two_keys_is_in_one_picture_only(tmp_path: Path) -> None:
    found, _ = merge(tmp_path, [hit("a", "k1"), hit("a", "k2"), hit("b", "k2"), hit("b", "k1")])
    listed = [*found, *(link["candidateID"] for row in found.values() for link in row["links"] or ())]
    assert sorted(listed) == ["a", "b"]


def test_entities_are_at_odds_unless_one_lies_below_the_others(tmp_path: Path) -> None:
    tree = {"species": ["genus", "family"], "sister": ["genus", "family"], "genus": ["family"], "family": []}
    rows = [
        hit("same", entityID="species"), hit("same", entityID="species", queryID="q2"),
        hit("line", entityID="family"), hit("line", entityID="species"), hit("line", entityID="genus"),
        hit("odds", entityID="species"), hit("odds", entityID="sister"), hit("odds", entityID="genus"),
    ]  # fmt: skip
    found, counts = merge(tmp_path, rows, entities=tree)
    assert {name: row["conflict"] for name, row in found.items()} == {"same": False, "line": False, "odds": True}
    assert found["odds"]["entityIDs"] == ["genus", "sister", "species"]
    assert (counts["candidates found for several entities"], counts["candidates of entities at odds"]) == (2, 1)


def test_no_hits_no_candidates_and_the_columns_are_those_of_the_table(tmp_path: Path) -> None:
    found, counts = merge(tmp_path, [], [])
    assert found == {} and counts["candidates"] == 0
    assert pq.read_schema(tmp_path / "candidates.parquet").equals(tables.CANDIDATES)
    assert not list(tmp_path.glob(".*")), "nothing is left beside the output"


def test_the_same_hits_give_the_same_bytes(tmp_path: Path) -> None:
    rows = [hit(f"{number % 700:04d}", f"k{number % 500}", entityID=f"e{number % 7}") for number in range(5000)]
    merge(tmp_path, rows[:3000], rows[3000:])
    first = (tmp_path / "candidates.parquet").read_bytes()
    merge(tmp_path, rows[:3000], rows[3000:])
    assert (tmp_path / "candidates.parquet").read_bytes() == first


def test_a_missing_table_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lacks\.hits\.parquet"):
        merge_hits([tmp_path / "lacks.hits.parquet"], tmp_path / "entities.parquet", tmp_path / "out.parquet")
    (tmp_path / "torn.hits.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(UserError, match=r"torn\.hits\.parquet"):
        merge_hits([tmp_path / "torn.hits.parquet"], tmp_path / "entities.parquet", tmp_path / "out.parquet")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (INAT, "http://static.inaturalist.org/photos/17/original.jpeg?1370000000"),
        (
            "https://upload.wikimedia.org/wikipedia/commons/a/ab/Caf%C3%A9_1.jpg",
            "https://upload.wikimedia.org/wikipedia/commons/thumb/a/ab/Caf%C3%A9_1.jpg/960px-Caf%C3%A9_1.jpg",
        ),
        (
            "https://upload.wikimedia.org/wikipedia/commons/a/ab/Lion_1.jpg",
            "http://commons.wikimedia.org/wiki/Special:FilePath/Lion%201.jpg?width=300",
        ),
        ("http://P.test:80/a b.jpg#top", "https://p.test/a%20b.jpg"),
        ("https://p.test:443/?id=1", "http://p.test/?id=1"),
        ("http://bücher.test/é.jpg?q=ä", "https://xn--bcher-kva.test/%C3%A9.jpg?q=%C3%A4"),
    ],
)
def test_addresses_of_one_picture(one: str, other: str) -> None:
    assert picture_key({"accessURI": one}) == picture_key({"accessURI": other})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (INAT, "https://inaturalist-open-data.s3.amazonaws.com/photos/171/medium.jpg"),
        (INAT, "https://notinaturalist.org/photos/17/medium.jpg"),
        (INAT, "https://p.test/?u=https://www.inaturalist.org/photos/17/medium.jpg"),
        (
            "https://upload.wikimedia.org/wikipedia/commons/a/ab/A.jpg",
            "https://upload.wikimedia.org/wikipedia/de/a/ab/A.jpg",
        ),
        ("http://p.test/?id=1", "http://p.test/?id=2"),
        ("http://p.test/a.jpg", "http://p.test/A.jpg"),
        ("http://p.test/a%2520b.jpg", "http://p.test/a%20b.jpg"),
        ("http://p.test:8080/a.jpg", "http://p.test/a.jpg"),
    ],
)
def test_addresses_of_two_pictures(one: str, other: str) -> None:
    assert picture_key({"accessURI": one}) != picture_key({"accessURI": other})


@pytest.mark.parametrize("address", ["", None, "http://[broken", "data:image/png;base64,AAAA", "a b"])
def test_addresses_that_are_none_do_no_harm(address: str | None) -> None:
    assert picture_key({"accessURI": address, "candidateID": "c"})
