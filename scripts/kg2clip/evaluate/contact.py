"""What a model says of a folder of pictures, for a person: a table and a contact sheet, one page in one file."""

from __future__ import annotations

import base64
import csv
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kg2clip.evaluate.taxa import Taxon
from kg2clip.files import atomic_path, write_text

SHOWN = 3  # taxa beside a picture
ANSWER = ["file", "scientificName", "vernacularName", "taxonRank", "taxonID", "probability", "remark"]
UNSURE = "no group of these taxa reaches the threshold"

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; font: 14px/1.35 system-ui, sans-serif }}
body {{ margin: 1.5rem; max-width: 90rem }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: 1rem }}
figure {{ margin: 0; overflow-wrap: anywhere }}
img {{ width: 100%; aspect-ratio: 1; object-fit: contain; background: #8882; border-radius: 6px }}
figcaption {{ font-weight: 600 }}
ol {{ margin: .2rem 0; padding: 0; list-style: none; font-size: 12px }}
li {{ background: linear-gradient(to right, #1f8a7055 var(--p), transparent var(--p)); padding: 0 .2rem }}
small {{ opacity: .7 }}
.unsure {{ font-weight: 400; font-style: italic }}
</style>
<h1>{title}</h1><p>{note}</p>
<main>
{figures}
</main></html>
"""


@dataclass(frozen=True)
class Answer:
    """What is said of one picture."""

    file: str
    taxon: Taxon | None = None  # the lowest that is sure enough; None: unsure, or the picture can't be read
    probability: float | None = None
    best: Sequence[tuple[Taxon, float]] = ()  # the most probable taxa, best first
    remark: str = ""
    thumbnail: bytes = b""  # JPEG


def write_table(answers: Iterable[Answer], path: Path) -> None:
    """Write a line for each picture: the answer, then the most probable taxa. Cells can't act as formulas."""
    ranked = [f"{column}{place}" for place in range(1, SHOWN + 1) for column in ("taxon", "probability")]
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*ANSWER, *ranked])
        for answer in answers:
            taxon = answer.taxon or Taxon("", None, None, None)
            row = [answer.file, taxon.scientific_name, taxon.vernacular_name, taxon.rank, taxon.identifier]
            row += [_share(answer.probability), answer.remark]
            for each, probability in answer.best[:SHOWN]:
                row += [each.name, _share(probability)]
            writer.writerow([_cell(value) for value in row])


def write_sheet(answers: Sequence[Answer], title: str, note: str, path: Path) -> None:
    """Write a page that needs no other file: each picture with the answer and the most probable taxa."""
    figures = "\n".join(_figure(answer) for answer in answers)
    write_text(path, PAGE.format(title=html.escape(title), note=html.escape(note), figures=figures))


def _figure(answer: Answer) -> str:
    picture = base64.b64encode(answer.thumbnail).decode()
    image = f'<img loading="lazy" alt="" src="data:image/jpeg;base64,{picture}">' if picture else ""
    said = f'<span class="unsure">{html.escape(answer.remark)}</span>'
    if answer.taxon:
        rank = f" <small>{html.escape(answer.taxon.rank)}</small>" if answer.taxon.rank else ""
        said = f"{_called(answer.taxon)}{rank} {answer.probability:.0%}"
    best = "".join(
        f'<li style="--p:{each:.0%}">{_called(taxon)} {each:.0%}</li>' for taxon, each in answer.best[:SHOWN]
    )
    file = f"<small>{html.escape(answer.file)}</small>"
    return f"<figure>{image}<figcaption>{said}</figcaption><ol>{best}</ol>{file}</figure>"


def _called(taxon: Taxon) -> str:
    scientific, common = taxon.scientific_name, taxon.vernacular_name
    if not (scientific and common):
        return html.escape(taxon.name)
    return f"<i>{html.escape(scientific)}</i> {html.escape(common)}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _cell(value: str | None) -> str:
    text = " ".join((value or "").split())
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
