"""Texts from the web, cleaned once; the useless told apart; languages guessed."""

from __future__ import annotations

import re
import time

import pytest

from kg2clip import texts
from kg2clip.languages import Names, guess_language
from kg2clip.texts import MAX_CHARACTERS, clean, useless, without_site


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        ("Robin &amp;amp; nest", "Robin & nest"),
        ("&#39;dunnock&#39;", "'dunnock'"),
        ("&amp;lt;b&amp;gt;Robin&amp;lt;/b&amp;gt; here", "Robin here"),
        ('<a href="x" class="extiw">Bombus</a> <b>terrestris</b><br/>', "Bombus terrestris"),
        ("<b>Robin</b>s<br>in a <a href='x'>tree</a>", "Robins in a tree"),
        ("one<br/>two<p>three</p>", "one two three"),
        ("<p>one</p><p>two</p><script>alert(1)</script><!-- no -->", "one two"),
        ("cafÃ©", "café"),
        ("\ufeffred\u200b kite\u202e", "red kite"),
        ("\ufeffRobin\x00 on\u200b a\u202e branch\ud800", "Robin on a branch"),
        ("a\x00b", "ab"),
        ("a\ud800b", "ab"),
        ("a\u200db\u200cc", "abc"),
        ("👩\u200d🌾 bee", "👩\u200d🌾 bee"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("e\u0301", "é"),
        ("two\n lines\t", "two lines"),
        ("a\u00a0b\u2003c\r\nd", "a b c d"),
        ("5 < 6 and 7 > 3", "5 < 6 and 7 > 3"),
        ("Prunus × domestica", "Prunus × domestica"),
        ("שלום", "שלום"),
        ("طائر أبو الحناء", "طائر أبو الحناء"),
        ("File:Bombus_terrestris_male.JPG", "Bombus terrestris male"),
        ("Rotkehlchen im Schnee.jpeg", "Rotkehlchen im Schnee"),
        ("Jane Doe (jane.doe@example.org), 2019", "Jane Doe , 2019"),
        ('<a href="mailto:j@example.org">j@example.org</a>', None),
        ("x" * 10_000, "x" * 500),
        ("Robin " + "知" * 10_000, "Robin " + "知" * 494),  # a script without spaces is not cut at its only one
        ("&amp;amp;amp;amp;lt;i&amp;amp;gt;Pica&#38;lt;/i&#x26;gt; &amp;#x263a;", "Pica ☺"),
        ("<<b>b>Robin</<b>b>", "Robin"),
        ("＜b＞Robin＜/b＞", "Robin"),
        ("<\u200bb>Robin</b\u200b>", "Robin"),
        ("Robin <script>alert(1)", "Robin"),
        ("Robin <!-- no end", "Robin"),
        ('<i>Night in Nice</i><div style="display: none;">label QS:Len,"Night in Nice"</div>\n', "Night in Nice"),
        ("Edvard Munch<span class='x' STYLE='color:red;display:none'>artist QS:P170,Q41406</span>", "Edvard Munch"),
        ('<b style="display: block">Robin</b> <i style="font: none">bird</i>', "Robin bird"),
        ("&Atilde;&copy;lan", "élan"),
        ("dâ€™Urville", "d'Urville"),
        ("CafÃƒÂ© au lait", "Café au lait"),
        ("ÐŸÑ‚Ð¸Ñ†Ð°", "Птица"),
        ("\ud83d\ude00 bee", "😀 bee"),
        ("bee\ufe0f\u00ad\u2060s", "bee\ufe0fs"),
        ("\u2066Robin\u2069 \u061cطائر", "Robin طائر"),
        ("\u3164\u2800 \u115f", None),
        ("IMG_1234.JPG.jpg", "IMG 1234"),
        ("C:\\Pictures\\My bees\\bee_1.JPEG", "bee 1"),
        ("/uploads/2019/05/red-kite.webp", "red-kite"),
        (float("nan"), None),
        (7, None),
        (["bee"], None),
        ("<!-- nothing --> \u00a0 ", None),
        ("  \n\t ", None),
        ("", None),
        (None, None),
    ],
)
def test_clean(raw: object, read: str | None) -> None:
    assert clean(raw) == read
    assert clean(clean(raw)) == read, "cleaning twice changes nothing"


@pytest.mark.parametrize(
    "text",
    [
        "<!--",
        "<script>",
        "<a",
        "<a style='display:none'>",
        ' style="display',
        "&amp;",
        "a.",
        "a@",
        "a-",
        " é",
        "\u200d",
        "👩\u200d",
        "<b>",
        "((",
        "Ã©",
        ".jpg",
        "&#38;",
        "@a.",
    ],
)
def test_hostile_texts_take_no_time(text: str) -> None:
    started = time.monotonic()
    for long in (text * 10_000, "é" + text * 100_000):
        useless(clean(long) or "")
    assert time.monotonic() - started < 2


def test_long_texts_are_cut_between_words() -> None:
    cut = clean("word " * 2000)
    assert cut and len(cut) <= MAX_CHARACTERS and cut.endswith("word")


def test_composed_and_decomposed_texts_are_one() -> None:
    assert clean("Ho\u0308rnchen") == clean("H\u00f6rnchen")


@pytest.mark.parametrize(
    ("title", "host", "left"),
    [
        ("Erithacus rubecula - Wikipedia", "en.wikipedia.org", "Erithacus rubecula"),
        ("Robin | Photos | Flickr", "www.flickr.com", "Robin | Photos"),
        ("European robin – Getty Images", "www.gettyimages.com", "European robin"),
        ("Flickr", "www.flickr.com", None),
        ("Robin - a bird of gardens", "www.flickr.com", "Robin - a bird of gardens"),
        ("buff-tailed bumblebee", "bumblebee.org", "buff-tailed bumblebee"),
        ("Robin - Wikipedia", None, "Robin - Wikipedia"),
        (None, "www.flickr.com", None),
    ],
)
def test_the_name_of_the_site_is_no_text(title: str | None, host: str | None, left: str | None) -> None:
    assert without_site(title, host) == left


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("DSC_0042.JPG", "file-name"),
        ("IMG 20190503", "file-name"),
        ("IMG_20190503_123456", "file-name"),
        ("017A7339.NEF", "file-name"),
        ("P1010234", "file-name"),
        ("DJI0001", "file-name"),
        ("Photo 3", "file-name"),
        ("20190503 (2)", "no-letters"),
        ("!!! ...", "no-letters"),
        ("https://example.org/a/b.html", "url"),
        ("www.example.org", "url"),
        ("Image", "generic"),
        ("stock photo", "generic"),
        ("Click to enlarge the image", "generic"),
        ("Untitled", "generic"),
        ("thumbnail", "generic"),
        ("SONY DSC", "generic"),
        ("OLYMPUS DIGITAL CAMERA", "generic"),
        ("KODAK Digital Still Camera", "generic"),
        ("Exif_JPEG_PICTURE", "generic"),
        ("WhatsApp Image 2021-03-04 at 12.33.44 PM.jpeg", "generic"),
        ("shutterstock_123456789.jpg", "generic"),
        ("Foto 3", "generic"),
        ("Bild", "generic"),
        ("sin título", "generic"),
        ("图片", "generic"),
        ("f47ac10b-58cc-4372-a567-0e02b2c3d479.png", "file-name"),
        ("IMG_4711.HEIC", "file-name"),
        ("DSC_0042.JPG?resize=300", "file-name"),
        ("MVI_0001.MOV", "file-name"),
        ("Copy of IMG_1234.JPG", "generic"),
        ("Kopie von DSC_0042.JPG", "generic"),
        ("IMAG0123_BURST001.jpg", "generic"),
        ("FB_IMG_1234567890.jpg", "generic"),
        ("thumb_500x300.jpg", "generic"),
        ("image not found", "generic"),
        ("Getty Images", "generic"),
        ("Robin_2.jpg", None),
        ("E. coli", None),
        ("Fig", None),
        ("© 2019 Jane Doe", "licence"),
        ("All rights reserved", "licence"),
        ("Licensed under CC BY-SA 4.0", "licence"),
        ("Own work", "licence"),
        ("Q25334", "identifier"),
        ("red fox", None),
        ("Bombus terrestris", None),
        ("Boeing 747", None),
        ("3 bees on a flower", None),
        ("A photo of a robin", None),
        ("Rotkehlchen", None),
        ("コマドリ", None),
        ("Great tit", None),
        (
            "A bee on clover, seen from above in a garden near the old mill in early summer; licensed under CC BY 4.0 by J. D.",
            None,
        ),
    ],
)
def test_useless(text: str, reason: str | None) -> None:
    assert useless(clean(text) or "") == reason


@pytest.mark.parametrize(
    "text",
    [
        '  a  bee, it\'s 5 > 4; 50 % ("x") #1 ~ `y` \\ {z} | w ',
        "File:My_bee.jpg",
        "Image: a b.PNG",
        "word " * 200,
        "x" * 600,
        "-",
        "...",
    ],
)
def test_a_text_that_needs_no_mending_is_what_mending_makes_of_it(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = clean(text)
    monkeypatch.setattr(texts, "_SUSPICIOUS", re.compile(""))  # everything is mended
    assert clean(text) == quick


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("A red kite in flight over the field", "en"),
        ("Weibchen der Dunklen Erdhummel auf einer Blüte", "de"),
        ("Bourdon terrestre butinant une fleur de lavande", "fr"),
        ("Abejorro en una flor amarilla, Madrid", "es"),
        ("花に止まるマルハナバチ", "ja"),
        ("Шмель на цветке", "ru"),
        ("Bombus terrestris", None),
        ("Bombus terrestris, buff-tailed bumblebee", None),
        ("Bombus terrestris 3", None),
        ("green", None),
        ("", None),
    ],
)
def test_languages_with_names_of_taxa_exempt(text: str, language: str | None) -> None:
    assert guess_language(text, Names(["Bombus terrestris", "buff-tailed bumblebee", ""])) == language


def test_a_name_does_not_decide_the_language() -> None:
    assert guess_language("Turdus merula sitting on the nest in our garden", Names(["Turdus merula"])) == "en"
    assert guess_language("Prunella vulgaris Prunella vulgaris Prunella vulgaris", Names(["Prunella vulgaris"])) is None
