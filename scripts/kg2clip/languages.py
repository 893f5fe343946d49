"""The language of a text, guessed offline (py3langid, BSD-3-Clause, a model of 4 MB in the package)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, cached_property

from py3langid.langid import MODEL_FILE, LanguageIdentifier

SURE = 0.4  # py3langid's probability; below it, names and lists of three words get languages at random
MIN_WORDS, MIN_LETTERS = 2, 10  # left after the names are taken out
UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff]")  # scripts that write words together


class Names:
    """Known names of taxa, which belong to no language: a binomial alone is taken for Latin, Italian or Spanish."""

    def __init__(self, names: Iterable[str]) -> None:
        """Take the names, the longest of which count first."""
        self._names = sorted({name.casefold() for name in names if name}, key=lambda name: (-len(name), name))

    def left_out(self, text: str) -> str:
        """The text without the names."""
        folded = text.casefold()
        return self._pattern.sub(" ", text) if any(name in folded for name in self._names) else text

    @cached_property
    def _pattern(self) -> re.Pattern[str]:  # compiled only for what needs it: that takes a millisecond
        return re.compile(rf"\b(?:{'|'.join(map(re.escape, self._names))})\b", re.IGNORECASE)


def guess_language(text: str, *names: Names) -> str | None:
    """The language of a text (ISO 639-1), or None where it is too short to tell once the names are left out."""
    for known in names:
        text = known.left_out(text)
    words = re.findall(r"[^\W\d_]+", text)
    if not UNSPACED.search(text) and (len(words) < MIN_WORDS or sum(map(len, words)) < MIN_LETTERS):
        return None
    language, probability = _identifier().classify(text)
    return str(language) if probability >= SURE else None


@cache
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
