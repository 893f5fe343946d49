"""The report in a browser: drawn, searched, read by keyboard, in both schemes, on a phone, and with hostile texts."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from browser.conftest import DESK, PHONE, Visit

CHARTS = {"tree", "coverage", "loss", "rate", "accuracy", "classes-heldout", "comparisons"}


def wait_for_charts(page: Page) -> None:
    """Until Vega has drawn every chart."""
    expect(page.locator("[data-chart].vega-embed")).to_have_count(page.locator("[data-chart]").count(), timeout=30_000)


def violations(page: Page) -> list[tuple[str, str, str]]:
    """What axe-core finds: the rule, the first element, what to mend."""
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [(one["id"], one["nodes"][0]["html"][:200], one["nodes"][0]["failureSummary"]) for one in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_it_opens_without_a_message_and_fits_the_screen(visit: Any, scheme: str, size: dict[str, int]) -> None:
    opened: Visit = visit(color_scheme=scheme, viewport=size)
    wait_for_charts(opened.page)
    assert opened.wrong == []
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    pictures = opened.page.locator("img")
    assert pictures.count() > 50
    assert pictures.evaluate_all("images => images.every(image => image.naturalWidth > 0)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_that_axe_finds_keeps_a_person_out(visit: Any, scheme: str) -> None:
    """Contrast, names of controls, roles, order of headings, regions that scroll: WCAG 2.2 AA as axe-core tests it."""
    opened: Visit = visit(color_scheme=scheme)
    wait_for_charts(opened.page)
    for details in opened.page.locator("details").all():
        details.evaluate("element => element.open = true")
    assert violations(opened.page) == []
    opened.page.locator("main p").first.evaluate("element => element.style.opacity = 0.3")
    assert [name for name, *_ in violations(opened.page)] == ["color-contrast"], "it would have been found"


def test_charts_are_drawn_and_answer_the_pointer(visit: Any) -> None:
    opened: Visit = visit()
    page = opened.page
    wait_for_charts(page)
    names = {str(one.get_attribute("data-chart")) for one in page.locator("[data-chart]").all()}
    assert names >= CHARTS
    for name in names:
        marks = page.locator(f"[data-chart='{name}'] [role=graphics-symbol]")
        assert marks.count() > 0, name
    insects = page.locator("[data-chart=tree] path[aria-label^='Insecta, class: 3 entities']")
    insects.hover()
    tooltip = page.locator("#vg-tooltip-element")
    expect(tooltip).to_be_visible()
    expect(tooltip).to_contain_text("Insecta")
    expect(tooltip).to_contain_text("of them with pictures")
    insects.click()
    coverage = page.locator("section[aria-labelledby=coverage]")
    expect(coverage.locator("input")).to_have_value("Insecta")
    expect(coverage.locator("tbody tr:not(.group):visible")).to_have_count(3)
    assert opened.wrong == []


def test_a_table_is_searched_by_name_and_by_group(visit: Any) -> None:
    page = visit().page
    coverage = page.locator("section[aria-labelledby=coverage]")
    rows = coverage.locator("tbody tr:not(.group):visible")
    expect(rows).to_have_count(6)
    for words, count in (("bombus", 2), ("MODULARIS prunella", 1), ("aves", 2), ("no such taxon", 0), ("", 6)):
        coverage.locator("input").fill(words)
        expect(rows).to_have_count(count)
    coverage.locator("input").fill("aves")
    expect(coverage.locator("output")).to_have_text(" 2 of 6")
    expect(coverage.locator("tr.group:visible")).to_have_count(1)


def test_galleries_are_searched_and_hold_a_credit_line_each(visit: Any) -> None:
    page = visit().page
    kept = page.locator("section[aria-labelledby=kept]")
    everything = kept.locator(".gallery > li")
    assert everything.count() == kept.locator(".credit").count() > 24
    shown = kept.locator(".gallery > li:visible")
    expect(shown).to_have_count(24)
    kept.locator("input[type=search]").fill("vanessa atalanta")
    expect(shown.first).to_contain_text("Vanessa atalanta")
    assert shown.count() == everything.filter(has_text="Vanessa atalanta").count() > 5
    dropped = page.locator("section[aria-labelledby=dropped]")
    dropped.locator("input[type=search]").fill("burst")
    expect(dropped.locator(".lot:visible")).to_have_count(1)


def test_hostile_texts_stay_text(visit: Any) -> None:
    opened: Visit = visit()
    page = opened.page
    wait_for_charts(page)
    for details in page.locator("details").all():
        details.evaluate("element => element.open = true")
    expect(page.locator("body")).to_contain_text('<script>alert("title")</script>')
    assert page.locator("[onerror], [onclick], [onmouseover]").count() == 0
    assert page.locator("a[href^='javascript:'], a[href^='data:']").count() == 0
    assert page.locator("main").is_visible()  # no style of theirs hid the page
    assert opened.wrong == []


def test_without_scripts_all_is_there(visit: Any) -> None:
    page = visit(java_script_enabled=False).page
    assert page.locator("[data-chart] svg").count() == page.locator("[data-chart]").count() >= len(CHARTS)
    assert page.locator("section[aria-labelledby=coverage] tbody tr:not(.group)").count() == 6
    page.get_by_text("more", exact=False).locator("visible=true").first.click()
    assert page.locator("section[aria-labelledby=kept] .gallery > li:visible").count() > 24


def test_the_keyboard_is_enough(visit: Any) -> None:
    page = visit().page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")
    header = page.locator("section[aria-labelledby=coverage] thead th", has_text="Kept")
    header.locator("button").focus()
    outline = header.locator("button").evaluate("element => getComputedStyle(element).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    expect(header).to_have_attribute("aria-sort", "descending")
    kept = page.locator("section[aria-labelledby=kept]")
    kept.locator("details:has(> .gallery) > summary").focus()
    page.keyboard.press("Enter")
    assert kept.locator(".gallery > li:visible").count() > 24


def test_the_methods_text_is_copied(visit: Any) -> None:
    opened: Visit = visit(permissions=["clipboard-read", "clipboard-write"])
    opened.page.get_by_role("button", name="Copy the text").click()
    expect(opened.page.get_by_role("button", name="Copied")).to_be_visible()
    assert "We exported 6 species" in opened.page.evaluate("navigator.clipboard.readText()")


def test_a_browser_that_forbids_copying_is_told_of(visit: Any) -> None:
    opened: Visit = visit()
    opened.page.evaluate("void (navigator.clipboard.writeText = () => Promise.reject(new Error('no')))")
    opened.page.get_by_role("button", name="Copy the text").click()
    expect(opened.page.get_by_role("button", name="does not allow it")).to_be_visible()
    assert opened.wrong == []


def test_on_paper_nothing_is_cut(visit: Any) -> None:
    page = visit().page
    wait_for_charts(page)
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    cut = page.locator(".scroll").evaluate_all("boxes => boxes.filter(b => b.scrollHeight > b.clientHeight + 1).length")
    assert cut == 0


def test_a_table_with_rows_that_have_no_numbers_is_sorted(visit: Any) -> None:
    """ "none planted" spans six columns: the last of them has no cell in its row."""
    opened: Visit = visit()
    table = opened.page.locator("section[aria-labelledby=truth] table")
    recall = table.locator("thead th", has_text="Recall")
    recall.locator("button").click()
    expect(recall).to_have_attribute("aria-sort", "descending")
    expect(table.locator("tbody tr").last).to_contain_text("none planted")
    recall.locator("button").click()
    expect(table.locator("tbody tr").first).to_contain_text("none planted")
    assert opened.wrong == []


def test_a_search_minds_no_accents_and_escape_ends_it(visit: Any) -> None:
    page = visit().page
    coverage = page.locator("section[aria-labelledby=coverage]")
    rows = coverage.locator("tbody tr:not(.group):visible")
    coverage.locator("input").fill("BÖMBUS terréstris")
    expect(rows).to_have_count(1)
    coverage.locator("input").press("Escape")
    expect(rows).to_have_count(6)


def test_paper_has_all_tables_and_the_screen_stays_as_it_was(visit: Any) -> None:
    page = visit().page
    tables, pictures = page.locator("details:has(> .table)"), page.locator("details:has(> .gallery)")
    folded = tables.evaluate_all("all => all.filter(one => !one.open).length")
    assert folded > 2
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tables.evaluate_all("all => all.every(one => one.open)")
    assert not pictures.first.evaluate("one => one.open")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tables.evaluate_all("all => all.filter(one => !one.open).length") == folded
