"""WordNet's living things, merged with the graph's entities so that each kind is exported once.

A synset and an entity are one where, in this order,

1. the entity states the synset's number (P8814, WordNet 3.1 only), and no other synset's;
2. a word of the synset is the scientific name, or a synonym, of this entity and of no other;
3. a word of the synset is a common name of this entity and of no other, both are of the same kingdom, and the synset
   names no other species of the same genus (WordNet's kiwi is Actinidia chinensis, not A. deliciosa).

Everything must be unambiguous both ways: words that lead to several entities lead to none, and where several synsets
lead to one entity in the same way none is it. An entity takes over its synset's words as aliases, the definition where
it has no description, and the number. Synsets that are no entity become entities of their own (wn:02084071-n) where
they stand below one of the roots, as WordNet names it, and have no other synset below them: leaves, as in the paper.
"""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from kg2clip.wordnet import ANIMAL, PLANT, Synset, WordNet

log = logging.getLogger(__name__)

Entity = dict[str, Any]
LIVING_THING = "living thing"
# Groups of noun.animal and noun.plant that are no kind of organism that one could photograph.
CUT = frozenset({"microorganism", "virus", "imaginary being", "mutant", "biont"})
KINGDOMS = {ANIMAL: frozenset({"Animalia", "Metazoa"}), PLANT: frozenset({"Plantae", "Viridiplantae", "Fungi"})}
SCIENTIFIC = frozenset({"scientific", "synonym"})
BINOMIAL = re.compile(r"[A-Z][a-z]+ [a-z-]+")


def living_things(wordnet: WordNet) -> dict[str, Synset]:
    """Kinds of animals, plants and fungi: no people, no microbes, no imaginary or single beings."""
    kinds = {}
    for synset in wordnet.synsets.values():
        if synset.file not in (ANIMAL, PLANT) or synset.instance:
            continue
        above = [wordnet.synsets[up] for up in wordnet.above(synset.id)]
        names = {word for one in (synset, *above) for word in one.words}
        if LIVING_THING in names and not CUT & names and not any(up.instance for up in above):
            kinds[synset.id] = synset
    return kinds


def match(wordnet: WordNet, entities: Iterable[Entity]) -> dict[str, str]:
    """Which synset is which entity: entityID by synset id, by the rule above."""
    living = living_things(wordnet)
    synsets_of: dict[str, set[str]] = defaultdict(set)
    for synset in living.values():
        for word in synset.words:
            synsets_of[word.casefold()].add(synset.id)
    by_number: dict[str, set[str]] = defaultdict(set)
    by_name: dict[str, set[str]] = defaultdict(set)  # entities by scientific name
    by_word: dict[str, set[str]] = defaultdict(set)  # entities by common name, case-folded
    kingdoms: dict[str, str | None] = {}
    species: dict[str, set[str]] = defaultdict(set)  # scientific names, case-folded, by entity
    for entity in entities:
        known = entity["entityID"]
        for identifier in entity["identifiers"]:
            if identifier["scheme"] == "wordnet31" and wordnet.version == "3.1":
                by_number[identifier["value"]].add(known)
        for name in entity["names"]:
            if name["kind"] in SCIENTIFIC:
                species[known].add(name["text"].casefold())
            if (folded := name["text"].casefold()) in synsets_of:
                kingdoms[known] = entity["kingdom"]
                (by_name if name["kind"] in SCIENTIFIC else by_word)[folded].add(known)
    matched: dict[str, str] = {}

    def settle(candidates: Callable[[Synset], set[str]]) -> None:
        taken = set(matched.values())
        found = {one.id: candidates(one) - taken for one in living.values() if one.id not in matched}
        claims = Counter(next(iter(those)) for those in found.values() if len(those) == 1)
        matched.update(
            {
                one: next(iter(those))
                for one, those in found.items()
                if len(those) == 1 and claims[next(iter(those))] == 1
            }
        )

    def namesakes(synset: Synset) -> set[str]:
        # A word with several meanings, or of several entities, says nothing.
        words = [word.casefold() for word in synset.words if len(synsets_of[word.casefold()]) == 1]
        found = [by_word[word] for word in words if len(by_word.get(word, ())) == 1]
        return {
            one
            for those in found
            for one in those
            if kingdoms[one] in KINGDOMS[synset.file] and not _is_other_species(synset, species[one])
        }

    settle(lambda synset: by_number.get(synset.id, set()))
    settle(lambda synset: set().union(*(by_name.get(word.casefold(), set()) for word in synset.words)))
    settle(namesakes)
    return matched


def _is_other_species(synset: Synset, names: set[str]) -> bool:
    """Whether a synset names a species, and it is another one of a genus that the names are of."""
    binomials = {word.casefold() for word in synset.words if BINOMIAL.fullmatch(word)}
    genera = {name.split()[0] for name in names}
    return not binomials & names and any(word.split()[0] in genera for word in binomials)


def add_words(entity: Entity, synset: Synset, wordnet: WordNet) -> Entity:
    """The entity with what its synset says."""
    known = {name["text"].casefold() for name in entity["names"]}
    words = [{"text": word, "language": "en", "kind": "alias"} for word in synset.words if word.casefold() not in known]
    number = {"scheme": f"wordnet{wordnet.version.replace('.', '')}", "value": synset.id}
    return {
        **entity,
        "names": [*entity["names"], *words],
        "description": entity["description"] or synset.gloss,
        "identifiers": [*entity["identifiers"], *([] if number in entity["identifiers"] else [number])],
    }


def merged(
    entities: Iterable[Entity], own: Iterable[Entity], wordnet: WordNet, matched: Mapping[str, str]
) -> Iterator[Entity]:
    """The graph's entities with what WordNet says of them, then WordNet's own."""
    synset_of = {entity: wordnet.synsets[synset] for synset, entity in matched.items()}
    for entity in entities:
        synset = synset_of.get(entity["entityID"])
        yield add_words(entity, synset, wordnet) if synset else entity
    yield from own


def own_entities(wordnet: WordNet, roots: Iterable[str], matched: Mapping[str, str]) -> Iterator[Entity]:
    """Leaves below the roots that are no entity of the graph, as rows of `tables.ENTITIES`.

    Args:
        roots: all names of the roots, scientific and common; a plural finds its singular.
    """
    wanted = {form for name in roots for form in _forms(name.casefold())}
    living, inner = living_things(wordnet), wordnet.inner()
    alive = wordnet.below(one.id for one in wordnet.synsets.values() if LIVING_THING in one.words)
    tops = {one for one in alive if wanted & {word.casefold() for word in wordnet.synsets[one].words}}
    if not tops:
        log.warning("WordNet has no word for the roots, so it adds nothing: name a root that has a common name")
    for number in sorted(wordnet.below(tops) & living.keys() - inner - matched.keys() - tops):
        yield _entity(wordnet, living[number])


def _forms(word: str) -> set[str]:
    return {
        word,
        word.removesuffix("s"),
        word.removesuffix("es"),
        f"{word.removesuffix('ies')}y" if word.endswith("ies") else word,
    }


def _entity(wordnet: WordNet, synset: Synset) -> Entity:
    above = [wordnet.synsets[up] for up in wordnet.above(synset.id)]
    names = [word for one in above for word in one.words]
    cut = next((place for place, one in enumerate(above) if LIVING_THING in one.words), len(above))
    kinds = above[: max(cut, 1)]
    return {
        "entityID": f"wn:{synset.id}",
        "scientificName": None,
        "vernacularName": synset.words[0],
        "names": [
            {"text": word, "language": "en", "kind": "label" if place == 0 else "alias"}
            for place, word in enumerate(synset.words)
        ],
        "description": synset.gloss,
        "kingdom": "Metazoa" if synset.file == ANIMAL else "Fungi" if "fungus" in names else "Viridiplantae",
        "naturalType": kinds[0].words[0] if kinds else None,
        "naturalTypeID": f"wn:{kinds[0].id}" if kinds else None,
        "ancestors": [
            {
                "entityID": f"wn:{one.id}",
                "vernacularName": one.words[0],
                "scientificName": None,
                "taxonID": None,
                "taxonRank": None,
            }
            for one in kinds
        ],
        "higherClassification": "|".join(one.words[0] for one in reversed(kinds)),
        "sitelinks": 0,
        "images": [],
        "identifiers": [{"scheme": f"wordnet{wordnet.version.replace('.', '')}", "value": synset.id}],
        "attributes": [],
    }
