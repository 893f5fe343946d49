"""How one individual looks: the traits of its species with the small differences between individuals.

Its tints are the individual's, the same in every picture of it; its pose is the picture's.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from kg2clip.identifiers import stable_hash
from kg2clip.mirror.rendered.colours import COLOURS, RGB
from kg2clip.mirror.rendered.table import Species


@dataclass(frozen=True)
class Look:
    """Traits turned into colours and numbers; a colour word is one tint throughout an individual.

    `rng` draws the pose, `individual` is the seed of the tints.
    """

    species: Species
    rng: np.random.Generator
    individual: int
    _tints: dict[str, RGB] = field(default_factory=dict)

    def tint(self, word: str) -> RGB:
        """Return the RGB of a colour word for this individual, a few percent off the table's value."""
        if word not in self._tints:
            rng = np.random.default_rng(int(stable_hash("tint", self.individual, word, length=16), 16))
            factors = rng.normal(1, 0.06) * rng.normal(1, 0.025, 3)
            red, green, blue = (int(v) for v in np.clip(np.array(COLOURS[word]) * factors, 0, 255))
            self._tints[word] = (red, green, blue)
        return self._tints[word]

    def has(self, trait: str) -> bool:
        """Say whether the species has the trait at all."""
        return trait in self.species.traits

    def colour(self, trait: str, default: str = "black") -> RGB:
        """Return the colour of a part, or of `default`, another trait or a colour word, where it is not recorded."""
        if self.has(trait):
            return self.tint(self.species.word(trait))
        return self.tint(default) if default in COLOURS else self.colour(default)

    def colours(self, trait: str) -> list[RGB]:
        """Return the colours of a sequence of parts, in their order."""
        return [self.tint(word) for word in self.species.words(trait)]

    def word(self, trait: str, default: str = "") -> str:
        """Return a trait's word."""
        return self.species.word(trait, default)

    def count(self, trait: str, default: int = 0) -> int:
        """Return a trait that is a number of parts."""
        return self.species.count(trait, default)

    def size(self, trait: str, **words: float) -> float:
        """Turn a size word into units, e.g. size("bill", short=0.2, long=0.6); the first one is the default."""
        return words[self.word(trait, next(iter(words)))]

    def jitter(self, spread: float) -> float:
        """Draw a small difference, normal about 0."""
        return float(self.rng.normal(0, spread))

    def between(self, low: float, high: float) -> float:
        """Draw evenly from a range: a pose."""
        return float(self.rng.uniform(low, high))
