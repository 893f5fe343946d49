"""The forms in which a class can be named to a model."""

from __future__ import annotations

from collections.abc import Sequence

FORMS = ("scientific", "common", "taxonomic", "combined")
RANKS = ("kingdom", "phylum", "class", "order", "family", "genus")  # as BioCLIP's seven, the name itself being the last


def name_forms(scientific: str | None, common: str | None, above: Sequence[str]) -> dict[str, str | None]:
    """A class's name in each form; None where it has none.

    taxonomic and combined are BioCLIP's `taxon` and `taxon_com` (arXiv 2311.18803, table 1): `Animalia Chordata Aves
    Passeriformes Corvidae Pica hudsonia`, and that with `with common name black-billed magpie`. A class without a
    common name keeps its taxonomic name in the combined form.

    Args:
        scientific: the scientific name.
        common: the common name.
        above: scientific names from kingdom to genus, those that are known.
    """
    taxonomic = None
    if scientific and above:
        higher = [name for name in above if not f"{scientific} ".startswith(f"{name} ")]
        taxonomic = " ".join([*higher, scientific])
    combined = f"{taxonomic} with common name {common}" if taxonomic and common else taxonomic
    return {"scientific": scientific, "common": common, "taxonomic": taxonomic, "combined": combined}
