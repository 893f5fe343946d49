"""How open a licence is, by its SPDX-like identifier."""

from __future__ import annotations

import re
from functools import lru_cache

OPEN, NONCOMMERCIAL = 2, 6  # the last openness that counts as such
UNKNOWN = 7
_ORDER = ("CC-BY", "CC-BY-SA", "CC-BY-ND", "CC-BY-NC", "CC-BY-NC-SA", "CC-BY-NC-ND")
_LIMITS = {"open": OPEN, "noncommercial": NONCOMMERCIAL, "any": UNKNOWN}


@lru_cache(maxsize=4096)
def openness(license_id: str | None) -> int:
    """0 for no conditions (public domain, CC0), 1 to 6 for CC-BY to CC-BY-NC-ND, 7 for anything else or unknown.

    GFDL and the Free Art Licence (LAL) count as CC-BY-SA, the open licences of the British and French governments,
    which say that they are compatible with it, as CC-BY.
    """
    code = re.sub(r"[\s_]+", "-", license_id.strip().upper()) if isinstance(license_id, str) else ""
    if re.match(r"(CC0|CC-ZERO|PUBLIC-DOMAIN|PDM|PD)(-|$)", code):
        return 0
    if re.match(r"(GFDL|LAL)(-|$)", code):
        return OPEN  # share-alike, as CC-BY-SA
    if re.match(r"(OGL-UK|ETALAB)-\d", code):
        return 1 + _ORDER.index("CC-BY")
    named = re.match(r"CC-BY(-NC)?(-ND)?(-SA)?(?=-\d|$)", code)
    return 1 + _ORDER.index(named[0]) if named and named[0] in _ORDER else UNKNOWN


def allowed(license_id: str | None, choice: str) -> bool:
    """Whether a licence falls under the config's choice: open, noncommercial or any."""
    return openness(license_id) <= _LIMITS[choice]
