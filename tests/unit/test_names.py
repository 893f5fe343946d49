"""Names of checklists and of NCBI's taxonomy, taken apart: the name, its author, or why it is none."""

from __future__ import annotations

import time

import pytest

from kg2clip.names import CODES, LONGEST, parse

PARTS = ("A. ", "A.", "Bcd & ", "de la Bc ", "Bcd-", "et al. ", "Bc, 1900 ", "(Bcd) ", "bus ", "× ", "f. ", "d'")

# text -> what people write, author
NAMES = {
    "Apis mellifera": ("Apis mellifera", ""),
    "Apis mellifera Linnaeus, 1758": ("Apis mellifera", "Linnaeus, 1758"),
    "Drosophila": ("Drosophila", ""),
    "Bacteria Latreille et al. 1825": ("Bacteria", "Latreille et al. 1825"),
    "Carex L.f.": ("Carex", "L.f."),
    "Dracaena draco (L.) L.": ("Dracaena draco", "(L.) L."),
    "Musca domestica de Geer": ("Musca domestica", "de Geer"),
    "Rhynchonycteris naso É. Geoffroy Saint-Hilaire, 1820": ("Rhynchonycteris naso", "É. Geoffroy Saint-Hilaire, 1820"),
    "Escherichia coli (Migula 1895) Castellani and Chalmers 1919": (
        "Escherichia coli",
        "(Migula 1895) Castellani and Chalmers 1919",
    ),
    "Pyrgulopsis glandulosa Hershler , 1988": ("Pyrgulopsis glandulosa", "Hershler , 1988"),
    "Suillus borealis (nom. illeg.)": ("Suillus borealis", "(nom. illeg.)"),
    # Brackets after a genus: a subgenus before an epithet, an author before another name (gnparser issue 265).
    "Hormosira (Endlichter) Meneghini, 1838": ("Hormosira", "(Endlichter) Meneghini, 1838"),
    "Aedes (Stegomyia) aegypti": ("Aedes aegypti", ""),
    "Aedes (Stegomyia) aegypti (Linnaeus, 1762)": ("Aedes aegypti", "(Linnaeus, 1762)"),
    "Salvia subgen. Perovskia": ("Salvia subgen. Perovskia", ""),
    "Bombus (Pyrobombus) hypnorum (Linnaeus, 1758)": ("Bombus hypnorum", "(Linnaeus, 1758)"),
    # Authors with all that they have.
    "Amanita caesarea (Scop.:Fr.) Pers.": ("Amanita caesarea", "(Scop.:Fr.) Pers."),
    "Rhyacophila obliterata McLachlan, 1863": ("Rhyacophila obliterata", "McLachlan, 1863"),
    "Otiorhynchus sulcatus Čapek & Łomnicki, 1901": ("Otiorhynchus sulcatus", "Čapek & Łomnicki, 1901"),
    "Andrena hattorfiana (FABRICIUS, 1775)": ("Andrena hattorfiana", "(FABRICIUS, 1775)"),
    "Delphinus capensis d\u2019Orbigny, [1847]": ("Delphinus capensis", "d\u2019Orbigny, [1847]"),
    "Larus smithi O'Brien in Jones et al., 1998": ("Larus smithi", "O'Brien in Jones et al., 1998"),
    "Abies nordmanniana (Steven) Spach ex Boiss.": ("Abies nordmanniana", "(Steven) Spach ex Boiss."),
    "Helix aspersa O. F. Müller, 1774": ("Helix aspersa", "O. F. Müller, 1774"),
    "Unio crassus v. Martens, 1890": ("Unio crassus", "v. Martens, 1890"),
    "Bombus\u00a0lucorum\u200b": ("Bombus lucorum", ""),
    "†Mammuthus primigenius (Blumenbach, 1799)": ("Mammuthus primigenius", "(Blumenbach, 1799)"),
    # How widely a species is taken is no part of its name.
    "Taraxacum officinale agg.": ("Taraxacum officinale", ""),
    "Rubus fruticosus s. l.": ("Rubus fruticosus", ""),
    "Pipistrellus pipistrellus sensu lato": ("Pipistrellus pipistrellus", ""),
    # Below the species.
    "Canis lupus familiaris": ("Canis lupus familiaris", ""),
    "Brassica oleracea var. capitata L.": ("Brassica oleracea var. capitata", "L."),
    "Jupunba cochleata var.moniliformis": ("Jupunba cochleata var. moniliformis", ""),
    "Lactobacillus delbrueckii ssp. bulgaricus": ("Lactobacillus delbrueckii subsp. bulgaricus", ""),
    "Fusarium oxysporum f. sp. pisi": ("Fusarium oxysporum f. sp. pisi", ""),
    "Abies alba f. pendula": ("Abies alba f. pendula", ""),
    "Quercus robur L. subsp. robur": ("Quercus robur subsp. robur", ""),
    "Ilex aquifolium L. f. bacciflava (Weston) Rehder": ("Ilex aquifolium f. bacciflava", "(Weston) Rehder"),
    "Mentha × piperita nothosubsp. citrata (Ehrh.) Briq.": ("Mentha × piperita nothosubsp. citrata", "(Ehrh.) Briq."),
    "Brassica oleracea convar. capitata": ("Brassica oleracea convar. capitata", ""),
    # Hybrids, with the sign or the letter.
    "Quercus × rosacea": ("Quercus × rosacea", ""),
    "Quercus x rosacea": ("Quercus × rosacea", ""),
    "Quercus ×rosacea": ("Quercus × rosacea", ""),
    "×Triticosecale": ("× Triticosecale", ""),
    "x Cupressocyparis leylandii": ("× Cupressocyparis leylandii", ""),
    "Mus musculus x Mus spretus": ("Mus musculus × Mus spretus", ""),
    "Quercus cerris L. × Q. suber L.": ("Quercus cerris × Quercus suber", ""),
    "Larus argentatus × L. fuscus": ("Larus argentatus × Larus fuscus", ""),
    # Cultivars.
    "Rosa 'Peace'": ("Rosa 'Peace'", ""),
    "Rosa ‘Peace’": ("Rosa 'Peace'", ""),
    "Coffea arabica L. cv. Caturra": ("Coffea arabica 'Caturra'", "L."),
    "Salix × sepulcralis Simonk. 'Chrysocoma'": ("Salix × sepulcralis 'Chrysocoma'", "Simonk."),
    # Marked by brackets or quotes.
    "[Candida] auris": ("Candida auris", ""),
    '"Bacillus coli" Migula 1895': ("Bacillus coli", "Migula 1895"),
    "Candidatus Phytoplasma mali": ("Phytoplasma mali", ""),
    "'Candidatus Phytoplasma asteris' Lee et al. 2004": ("Phytoplasma asteris", "Lee et al. 2004"),
    # Epithets that look like something else.
    "Polygonia c-album": ("Polygonia c-album", ""),
    "Coccinella 7-punctata": ("Coccinella 7-punctata", ""),
    "Ia io": ("Ia io", ""),
    "Hemitaurichthys o'higginsi": ("Hemitaurichthys o'higginsi", ""),
    "Ranunculus d'urvillei Cheeseman": ("Ranunculus d'urvillei", "Cheeseman"),
    "Apus affinis": ("Apus affinis", ""),
    "Ithomeis aurantiaca satellites": ("Ithomeis aurantiaca satellites", ""),
    "Tenellia poritophages": ("Tenellia poritophages", ""),
}

REASONS = {
    "uncultured bacterium": "samples and unclassified",
    "environmental samples": "samples and unclassified",
    "Homo sapiens environmental sample": "samples and unclassified",
    "unclassified Apidae": "samples and unclassified",
    "Ovalentaria incertae sedis": "samples and unclassified",
    "Russula sp. 8 KA-2019": "species without a name",
    "Andrena sp.nov.": "species without a name",
    "Andrena spA": "species without a name",
    "Apidae gen. sp.": "species without a name",
    "Andrena sp. BOLD:AAI4757": "species without a name",
    "Andrena spec": "species without a name",
    "Andrena indet.": "species without a name",
    "Andrena n. sp. 2": "species without a name",
    "Andrena prox. nigra": "uncertain (cf., aff.)",
    "Andrena ? nigra": "uncertain (cf., aff.)",
    "cf. Andrena nigra": "no scientific name",
    "BOLD:AAI4757": "no scientific name",
    "Larus argentatus/cachinnans": CODES,
    "Salmonella enterica serovar Typhimurium": CODES,
    "Brassica oleracea Gongylodes Group": CODES,
    "Citrus × aurantium (Sweet Orange Group)": CODES,
    "Bombus lucorum-complex": CODES,
    "bat coronavirus RaTG13": "viruses",
    "uncultured Candidatus Pelagibacter sp.": "samples and unclassified",
    "Bacillus sp. (in: firmicutes)": "species without a name",
    "Astrotricha sp. 'Isabella'": "species without a name",
    "Quercus cf. robur": "uncertain (cf., aff.)",
    "Larus argentatus cf. smithsonianus": "uncertain (cf., aff.)",
    "Xylopia aff. africana GS-2017": "uncertain (cf., aff.)",
    "Escherichia coli str. K-12": CODES,
    "Akkermansia muciniphila ATCC BAA-835": CODES,
    "Saccharomyces cerevisiae CBS 1585": CODES,
    "Metarhizium robertsii ARSEF 23": CODES,
    "Lacinipolia pensilis group 1 BOLD:AAA5195": CODES,
    "Tobacco mosaic virus": "viruses",
    "Croceibacter phage P2559Y": "viruses",
    "O'Brien's": "no scientific name",
    "repleta group": "no scientific name",
    "ARIZ": "no scientific name",
    " ": "no name",
}


@pytest.mark.parametrize("text, parts", NAMES.items())
def test_a_name_is_parted_from_its_author(text: str, parts: tuple[str, str]) -> None:
    name = parse(text)
    assert (name.reason, name.canonical, name.authorship) == ("", *parts)


@pytest.mark.parametrize("text", NAMES)
def test_what_people_write_is_read_as_itself(text: str) -> None:
    canonical = parse(text).canonical
    again = parse(canonical)
    assert (again.canonical, again.authorship, again.reason) == (canonical, "", "")


@pytest.mark.parametrize("text, reason", REASONS.items())
def test_what_is_no_taxon_says_why_and_stays_as_it_is(text: str, reason: str) -> None:
    name = parse(text)
    assert name.reason == reason
    assert name.canonical == text.strip()


def test_parts() -> None:
    mosquito = parse("Aedes (Stegomyia) aegypti formosus (Walker, 1848)")
    assert (mosquito.genus, mosquito.subgenus, mosquito.species, mosquito.infraspecific) == (
        "Aedes",
        "Stegomyia",
        "aegypti",
        "formosus",
    )
    assert parse("Bombus (Pyrobombus)").subgenus == "Pyrobombus"
    assert parse("Rosa 'Peace'").cultivar == "Peace"
    assert parse("[Candida] auris").doubtful and not parse("Candida auris").doubtful
    assert parse("Mus musculus x Mus spretus").hybrid and not parse("Mus musculus").hybrid


@pytest.mark.parametrize(
    "text",
    ["(" * 5000, "A" * 20000]
    + [
        (start + part * 80)[: LONGEST - 1] + "1" for start in ("Aus bus ", "Aus (", "Aus (Bus) cus (") for part in PARTS
    ],
)
def test_hostile_names_take_no_time(text: str) -> None:
    """No catastrophic backtracking: a name from the web may be anything."""
    started = time.monotonic()
    parse(text)
    assert time.monotonic() - started < 1
