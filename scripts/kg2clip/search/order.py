"""In which order the sources are asked. The Snakefile imports this module: nothing slow is imported here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ATTRIBUTES = "attributes"  # names the second part of a source's search, and its key in the config


def searches(config: Mapping[str, Any]) -> list[str]:
    """The names of all searches: each source by names, then those that understand attributes by attributes.

    So an entity with too few pictures is looked for at all sources before its attributes are tried.
    """
    sources = config["search"]["sources"]
    if set(config["queries"]["kinds"]) <= {"noun"}:
        return list(sources)
    return [*sources, *(f"{name}-{ATTRIBUTES}" for name, wanted in sources.items() if wanted.get(ATTRIBUTES))]
