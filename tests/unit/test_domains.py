"""Every ready-made group in config/domains is a valid config that says what it exports."""

from __future__ import annotations

from pathlib import Path

import pytest

from kg2clip import settings

DOMAINS = sorted((settings.ROOT / "config" / "domains").glob("*.yaml"))


@pytest.mark.parametrize("path", DOMAINS, ids=[path.stem for path in DOMAINS])
def test_a_domain_can_be_used_as_it_is(path: Path) -> None:
    config = settings.load(path)
    assert config["project"] == path.stem
    assert config["contact"] == ""
    wanted = config["knowledge"]
    named = [*wanted["roots"], *wanted["classes"]]
    assert named and len(named) == len(set(named))
    assert not set(wanted["classes"]) & set(wanted["exclude"])
    assert path.read_text(encoding="utf-8").startswith("# ")


def test_the_groups_that_are_promised_are_there() -> None:
    names = {path.stem for path in DOMAINS}
    assert names >= {"bumblebees", "birds", "birds-of-europe", "mushrooms", "reef-fishes", "butterflies"}
    assert names >= {"animals", "plants", "fungi", "world"}
    assert len(settings.load(settings.ROOT / "config" / "domains" / "world.yaml")["knowledge"]["classes"]) == 21
