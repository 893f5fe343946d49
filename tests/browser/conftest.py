"""The report of the synthetic run of the unit tests, opened in Debian's Chromium without the internet."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from unit.report.conftest import make_run

CHROMIUM = shutil.which("chromium")
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


class Visit:
    """An opened report, and all that went wrong in it: messages of the console, errors, requests, dialogs."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.wrong: list[str] = []
        page.on("console", lambda message: self.wrong.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        page.on("request", lambda request: self._asked(request.url))
        page.on("dialog", lambda dialog: (self.wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))

    def _asked(self, url: str) -> None:
        if not re.match(r"(file|data):", url):
            self.wrong.append(f"request: {url}")


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page as a file."""
    folder = tmp_path_factory.mktemp("report")
    path = folder / "index.html"
    path.write_text(make_run(folder, per_species=60).html(), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    if not CHROMIUM:
        pytest.skip("chromium is not installed (make chromium)")
    with sync_playwright() as playwright:
        # Root in a container has no sandbox of its own.
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@pytest.fixture
def visit(browser: Browser, report: Path) -> Iterator[Any]:
    """Open the report: `visit(color_scheme="dark", viewport=PHONE, ...)`, the options of a browser's context."""
    contexts = []

    def opened(**options: Any) -> Visit:
        contexts.append(browser.new_context(**{"viewport": DESK, **options}))
        made = Visit(contexts[-1].new_page())
        made.page.goto(report.as_uri())
        return made

    yield opened
    for context in contexts:
        context.close()
