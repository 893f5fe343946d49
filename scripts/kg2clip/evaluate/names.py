"""How a class can be named to a model: forms of names, and sets of templates around them."""

from __future__ import annotations

from collections.abc import Sequence

from open_clip import OPENAI_IMAGENET_TEMPLATES, SIMPLE_IMAGENET_TEMPLATES

FORMS = ("scientific", "common", "taxonomic", "combined")
RANKS = ("kingdom", "phylum", "class", "order", "family", "genus")  # as BioCLIP's seven, the name itself being the last

# OpenAI's sets for ImageNet, from open_clip: the 80 of the paper (arXiv 2103.00020) and the 7 chosen from them later.
TEMPLATES = {
    "openai-80": [template("{c}") for template in OPENAI_IMAGENET_TEMPLATES],
    "openai-7": [template("{c}") for template in SIMPLE_IMAGENET_TEMPLATES],
}


def templates_of(prompts: str | list[str]) -> list[str]:
    """The templates of an entry of evaluate.prompts: those written there, or those of the set that it names."""
    return TEMPLATES[prompts] if isinstance(prompts, str) else prompts


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
