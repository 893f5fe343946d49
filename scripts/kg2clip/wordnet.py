"""WordNet's nouns, read from its own files (`data.noun`; format: wndb(5WN) of WordNet 3.0).

Any folder of WordNet 2 or 3 will do, such as Debian's /usr/share/wordnet. A synset is known by its offset in that
version's file, so its identity names the version: wn:02084071-n is WordNet 3.0's, 3.1 numbers anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kg2clip.errors import UserError

ANIMAL, PLANT = 5, 20  # lexicographer files noun.animal and noun.plant (lexnames(5WN)); fungi are in the latter
HYPERNYM, INSTANCE_HYPERNYM = "@", "@i"
VERSION = re.compile(r"WordNet (\d+\.\d+) Copyright")


@dataclass(frozen=True, slots=True)
class Synset:
    """A set of nouns with one meaning: 8 digits and "-n", words with spaces, the definition without examples."""

    id: str
    file: int  # of the lexicographers
    words: tuple[str, ...]
    gloss: str
    hypernyms: tuple[str, ...]
    instance: bool  # a name of one thing: Man o' War, the horse


@dataclass(frozen=True)
class WordNet:
    """The nouns of a WordNet, by synset id."""

    version: str
    synsets: Mapping[str, Synset]

    def above(self, synset: str) -> list[str]:
        """All hypernyms, nearest first, each once."""
        seen, level, found = {synset}, [synset], []
        while level := sorted({up for below in level for up in self.synsets[below].hypernyms} - seen):
            seen.update(level)
            found.extend(level)
        return found

    def inner(self) -> set[str]:
        """The synsets that have others below them."""
        return {up for synset in self.synsets.values() for up in synset.hypernyms}

    def below(self, tops: Iterable[str]) -> set[str]:
        """The given synsets and all below them."""
        children: dict[str, list[str]] = {}
        for synset in self.synsets.values():
            for up in synset.hypernyms:
                children.setdefault(up, []).append(synset.id)
        found, waiting = set(), list(tops)
        while waiting:
            if (one := waiting.pop()) not in found:
                found.add(one)
                waiting.extend(children.get(one, ()))
        return found


def read_wordnet(folder: Path) -> WordNet:
    """Read the nouns of a WordNet folder (or of its subfolder `dict`).

    Raises:
        UserError: there is no data.noun, or it is none of WordNet's.
    """
    path = next((place for place in (folder / "data.noun", folder / "dict" / "data.noun") if place.is_file()), None)
    if path is None:
        raise UserError(
            f"knowledge.wordnet: {folder} holds no data.noun. "
            "Debian's package wordnet-base puts it into /usr/share/wordnet"
        )
    version, synsets = "", {}
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if line.startswith(" "):  # the licence
                version = version or (match[1] if (match := VERSION.search(line)) else "")
                continue
            try:
                synset = _parse(line)
            except (ValueError, IndexError):
                raise UserError(f"knowledge.wordnet: line {number} of {path} is none of WordNet's data files") from None
            synsets[synset.id] = synset
    if not version:
        raise UserError(f"knowledge.wordnet: {path} does not say which WordNet it is")
    return WordNet(version, synsets)


def _parse(line: str) -> Synset:
    data, _, gloss = line.partition("|")
    fields = data.split()
    count = int(fields[3], 16)
    words = tuple(dict.fromkeys(word.replace("_", " ") for word in fields[4 : 4 + 2 * count : 2]))
    pointers = fields[5 + 2 * count :]
    ups = [
        (pointers[place], f"{pointers[place + 1]}-{pointers[place + 2]}")
        for place in range(0, 4 * int(fields[4 + 2 * count]), 4)
        if pointers[place] in (HYPERNYM, INSTANCE_HYPERNYM)
    ]
    return Synset(
        id=f"{fields[0]}-{fields[2]}",
        file=int(fields[1]),
        words=words,
        gloss=re.split(r'[;:]\s*"', gloss)[0].strip(),
        hypernyms=tuple(up for _, up in ups),
        instance=any(symbol == INSTANCE_HYPERNYM for symbol, _ in ups),
    )
