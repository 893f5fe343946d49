"""The language of a text, guessed offline (py3langid, BSD-3-Clause, a model of 4 MB in the package)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

SURE = 0.4  # py3langid's probability; below it, names and lists of three words get languages at random
MIN_WORDS, MIN_LETTERS = 2, 10  # left after the names are taken out
UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff]")  # scripts that write words together


def guess_language(text: str, names: Iterable[str] = ()) -> str | None:
    """The language of a text (ISO 639-1), or None where it is too short to tell.

    Args:
        names: known names of taxa. They are left out: a binomial alone is taken for Latin, Italian or Spanish.
    """
    for name in sorted((name for name in names if name), key=len, reverse=True):
        text = re.sub(rf"\b{re.escape(name)}\b", " ", text, flags=re.IGNORECASE)
    words = re.findall(r"[^\W\d_]+", text)
    if not UNSPACED.search(text) and (len(words) < MIN_WORDS or sum(map(len, words)) < MIN_LETTERS):
        return None
    language, probability = _identifier().classify(text)
    return str(language) if probability >= SURE else None


@cache
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
