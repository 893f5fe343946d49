"""Licences in one spelling."""

import pytest

from kg2clip.search.licenses import normalize


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("CC-BY-NC 4.0", "CC-BY-NC-4.0"),
        ("http://creativecommons.org/licenses/by-nc/4.0/legalcode", "CC-BY-NC-4.0"),
        ("http://creativecommons.org/licenses/by-nc/4.0/", "CC-BY-NC-4.0"),
        ("CC_BY_NC_4_0", "CC-BY-NC-4.0"),
        ("cc-by-sa-4.0", "CC-BY-SA-4.0"),
        ("CC BY-SA 3.0 de", "CC-BY-SA-3.0"),
        ("CC BY-NC-ND", "CC-BY-NC-ND"),
        ("cc-by-nc", "CC-BY-NC"),
        ("https://creativecommons.org/licenses/by/2.0", "CC-BY-2.0"),
        ("http://creativecommons.org/publicdomain/zero/1.0/deed.en", "CC0-1.0"),
        ("CC0", "CC0-1.0"),
        ("cc-zero", "CC0-1.0"),
        ("pd", "public-domain"),
        ("Public domain", "public-domain"),
        ("© all rights reserved", "all-rights-reserved"),
        ("CC BY-SA 3.0-2.5-2.0-1.0", "CC-BY-SA-3.0"),
        ("cc-by-sa-3.0,2.5,2.0,1.0", "CC-BY-SA-3.0"),
        ("GFDL or CC BY-SA 3.0", "CC-BY-SA-3.0"),
        ("CC BY-NC 4.0 | CC BY 4.0", "CC-BY-4.0"),
        ("GFDL", "GFDL"),
        ("GFDL 1.2+", "GFDL-1.2"),
        ("FAL", "LAL"),
        ("CC BY 4.0 International", "CC-BY-4.0"),
        ("Attribution-NonCommercial 4.0 International", "CC-BY-NC-4.0"),
        ("Creative Commons Attribution-ShareAlike 3.0 Unported", "CC-BY-SA-3.0"),
        ("Creative Commons Attribution License", "CC-BY"),
        ("CC0 1.0 Universal", "CC0-1.0"),
        ("Public Domain Mark 1.0", "public-domain"),
        ("http://creativecommons.org/licenses/publicdomain/", "public-domain"),
        ("PD-US-expired", "public-domain"),
        ("http://rightsstatements.org/vocab/InC/1.0/", "all-rights-reserved"),
        ("http://rightsstatements.org/vocab/CNE/1.0/", "unknown"),
        ("Todos los derechos reservados", "all-rights-reserved"),
        ("Attribution required, ask the author", "unknown"),
        ("free for personal use or so", "unknown"),
        ("unspecified", "unknown"),
        ("Atribución no comercial", "unknown"),
        ("CC", "unknown"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_forms(said: str | None, meant: str) -> None:
    assert normalize(said) == meant


def test_the_first_readable_statement_counts() -> None:
    assert normalize(None, "see page", "CC BY 4.0") == "CC-BY-4.0"
