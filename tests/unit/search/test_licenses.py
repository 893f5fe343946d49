"""Licences in one spelling."""

import time

import pytest

from kg2clip.licences import openness
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
        # Ported versions, and words behind the version.
        ("cc-by-2.5-in", "CC-BY-2.5"),
        ("CC BY-SA 2.5 India", "CC-BY-SA-2.5"),
        ("CC BY-NC-ND 4.0 Int.", "CC-BY-NC-ND-4.0"),
        ("CC BY 3.0 IGO", "CC-BY-3.0"),
        ("CC BY 2.1 jp", "CC-BY-2.1"),
        ("cc by v4.0 deed", "CC-BY-4.0"),
        ("CC-BY-4", "CC-BY-4.0"),
        ("CCBY-NC 4.0", "CC-BY-NC-4.0"),
        ("ccbyncsa", "CC-BY-NC-SA"),
        ("CC BY\u2011NC\u2011SA 4.0.", "CC-BY-NC-SA-4.0"),
        # Nothing that limits may be lost on the way.
        ("CC BY 4.0 NC", "CC-BY-NC-4.0"),
        ("CC BY 4.0-ND", "CC-BY-ND-4.0"),
        ("CC BY / NC / ND 4.0", "CC-BY-NC-ND-4.0"),
        ("CC BY-SA; no commercial use", "unknown"),
        ("CC BY 4.0, but ask first", "unknown"),
        ("not CC BY 4.0", "unknown"),
        ("CC BY?", "unknown"),
        ("no CC BY", "unknown"),
        ("CC BY 4.0 (CC BY-NC 4.0)", "CC-BY-NC-4.0"),
        ("non-commercial use only, see https://creativecommons.org/licenses/by/4.0/", "unknown"),
        ("all rights reserved, see https://creativecommons.org/licenses/by/4.0/", "all-rights-reserved"),
        ("CC BY-ND-SA 4.0", "unknown"),
        ("CC NC-SA 1.0", "unknown"),
        ("Attribution", "unknown"),
        # Addresses.
        ("https://www.creativecommons.org/licenses/by-nc-sa/4.0/deed.es", "CC-BY-NC-SA-4.0"),
        ("creativecommons.org/licenses/by-nd/2.0/", "CC-BY-ND-2.0"),
        ("HTTPS://CREATIVECOMMONS.ORG/LICENSES/BY/4.0/LEGALCODE.DE", "CC-BY-4.0"),
        ("http://creativecommons.org/licences/by/3.0/us/", "CC-BY-3.0"),
        ('<a rel="license" href="http://creativecommons.org/licenses/by-sa/3.0/">CC BY-SA</a>', "CC-BY-SA-3.0"),
        ("CC BY-NC 4.0 (https://creativecommons.org/licenses/by-nc/4.0/)", "CC-BY-NC-4.0"),
        ("http://creativecommons.org/licenses/by/4.0/ or http://creativecommons.org/licenses/by-nc/4.0/", "CC-BY-4.0"),
        ("http://creativecommons.org/licenses/by/4.0/ http://creativecommons.org/licenses/by-nc/4.0/", "unknown"),
        ("http://creativecommons.org/licenses/by/4.0/ or http://creativecommons.org/licenses/by/3.0/", "CC-BY-3.0"),
        ("https://creativecommons.org/publicdomain/mark/1.0/", "public-domain"),
        ("http://creativecommons.org/licenses/sampling+/1.0/", "unknown"),
        ("https://spdx.org/licenses/CC-BY-NC-SA-3.0-IGO.html", "CC-BY-NC-SA-3.0"),
        ("https://www.gnu.org/licenses/fdl-1.3.html", "GFDL-1.3"),
        ("http://artlibre.org/licence/lal/en", "LAL"),
        ("https://rightsstatements.org/page/InC-EDU/1.0/?language=en", "all-rights-reserved"),
        ("http://rightsstatements.org/vocab/NoC-US/1.0/", "unknown"),
        ("https://example.org/by/4.0/", "unknown"),
        # As the licences' own pages are called.
        (
            "Creative Commons Attribution-NonCommercial-ShareAlike 4.0 International (CC BY-NC-SA 4.0)",
            "CC-BY-NC-SA-4.0",
        ),
        (
            "This work is licensed under a Creative Commons Attribution Non Commercial (CC-BY-NC) 4.0 License.",
            "CC-BY-NC-4.0",
        ),
        ("Creative Commons BY-NC-ND 3.0", "CC-BY-NC-ND-3.0"),
        ("Attribution-NoDerivs License", "CC-BY-ND"),
        ("Creative Commons Reconocimiento-NoComercial-SinObraDerivada 4.0 Internacional", "CC-BY-NC-ND-4.0"),
        ("Licencia Creative Commons Atribución-NoComercial 4.0 Internacional", "CC-BY-NC-4.0"),
        ("Namensnennung - Nicht kommerziell - Keine Bearbeitungen 4.0 International", "CC-BY-NC-ND-4.0"),
        ("Namensnennung – Weitergabe unter gleichen Bedingungen 3.0 Deutschland", "CC-BY-SA-3.0"),
        ("Licence Creative Commons Attribution - Pas d\u2019Utilisation Commerciale 4.0 International", "CC-BY-NC-4.0"),
        ("Creative Commons Atribuição-Uso Não Comercial-CompartilhaIgual 4.0", "CC-BY-NC-SA-4.0"),
        ("クリエイティブ・コモンズ 表示-非営利-改変禁止 4.0 国際", "CC-BY-NC-ND-4.0"),
        ("知识共享 署名-非商业性使用-相同方式共享 4.0 国际", "CC-BY-NC-SA-4.0"),
        ("Attribuzione - Non commerciale 4.0 Internazionale", "CC-BY-NC-4.0"),
        ("Creative Commons Attribution 4.0 International Public License", "CC-BY-4.0"),
        ("uso no comercial", "unknown"),
        # No conditions.
        ("CC0 1.0 Universal (CC0 1.0) Public Domain Dedication", "CC0-1.0"),
        ("Creative Commons Zero v1.0 Universal", "CC0-1.0"),
        ("CC0_1_0", "CC0-1.0"),
        ("Public Domain (CC0 1.0)", "CC0-1.0"),
        ("PDM 1.0", "public-domain"),
        ("Public Domain Mark 1.0 Universal", "public-domain"),
        ("Gemeinfrei", "public-domain"),
        ("Dominio público", "public-domain"),
        ("No known copyright restrictions", "public-domain"),
        ("not in the public domain", "unknown"),
        ("public domain in some countries", "unknown"),
        # Others.
        ("GFDL 1.2 or later", "GFDL-1.2"),
        ("GNU Free Documentation License, version 1.3", "GFDL-1.3"),
        ("OGL v3.0", "OGL-UK-3.0"),
        ("Open Government Licence version 1.0", "OGL-UK-1.0"),
        ("Licence Ouverte 2.0", "etalab-2.0"),
        ("OGL", "unknown"),
        ("Fair use", "unknown"),
        ("Todos os direitos reservados", "all-rights-reserved"),
        ("All rights reserved.", "all-rights-reserved"),
        ("© 2020 Jane Doe", "unknown"),
        (float("nan"), "unknown"),
        (4.0, "unknown"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_forms(said: object, meant: str) -> None:
    assert normalize(said) == meant


@pytest.mark.parametrize(
    "said", ["a" * 50_000 + "/", "a." * 25_000 + "/", "cc by " * 10_000, "(" * 50_000, "by-" * 20_000]
)
def test_a_long_statement_takes_no_time(said: str) -> None:
    started = time.monotonic()
    assert normalize(said) == "unknown"
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    ("license_id", "degree"),
    [
        ("CC0-1.0", 0), ("public-domain", 0), ("CC-BY-4.0", 1), ("OGL-UK-3.0", 1), ("etalab-2.0", 1), ("CC-BY-SA-3.0", 2),
        ("GFDL-1.2", 2), ("LAL", 2), ("CC-BY-ND", 3), ("CC-BY-NC-4.0", 4), ("CC-BY-NC-SA-4.0", 5), ("CC-BY-NC-ND-4.0", 6),
        ("all-rights-reserved", 7), ("unknown", 7), ("", 7), (None, 7), (float("nan"), 7),
    ],
)  # fmt: skip
def test_how_open_each_is(license_id: str | None, degree: int) -> None:
    assert openness(license_id) == degree


def test_the_first_readable_statement_counts() -> None:
    assert normalize(None, "see page", "CC BY 4.0") == "CC-BY-4.0"
