"""Take the pictures of the report that the docs show: light, dark, and as on a phone.

    python tests/browser/screenshots.py results/demo/report/index.html docs

In:  a report. Out: report.png, report-dark.png and report-phone.png in a folder, as Debian's Chromium draws them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

SHOTS = {  # name: width and height of the window, scheme, the heading at its top
    "report": (1200, 900, "light", "summary"),
    "report-dark": (1200, 900, "dark", "coverage"),
    "report-phone": (390, 844, "light", "kept"),
}
COLOURS = 256  # of a palette: a third of the bytes


def take(browser: Browser, report: Path, target: Path, shot: tuple[int, int, str, str]) -> None:
    """Write one picture."""
    width, height, scheme, heading = shot
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.goto(report.resolve().as_uri())
    page.locator("[data-chart].vega-embed").first.wait_for()
    page.locator(f"#{heading}").evaluate("element => element.scrollIntoView({behavior: 'instant'})")
    page.screenshot(path=target)
    with Image.open(target) as picture:
        picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)


def main() -> None:
    """Read the arguments and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, help="the page")
    parser.add_argument("folder", type=Path, help="where the pictures go")
    arguments = parser.parse_args()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for name, shot in SHOTS.items():
            take(chromium, arguments.report, arguments.folder / f"{name}.png", shot)


if __name__ == "__main__":
    main()
