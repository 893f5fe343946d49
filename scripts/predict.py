"""Name the organisms on the pictures of a folder.

    python scripts/predict.py results/demo/models/main my_pictures --taxa results/demo/knowledge/entities.parquet
    python scripts/predict.py results/demo/models/main my_pictures --taxa "Bombus terrestris" "Apis mellifera"

In:  a model's folder, a folder of pictures (with those below it), the taxa to choose from. Out: predictions.csv, a line
for each picture, and contact-sheet.html, the pictures with the three most probable taxa. Where no single taxon is
probable enough the answer is the genus, family or higher group that is; groups are known for taxa of entities.parquet
and of tables with columns such as family and genus. Probabilities are among the given taxa: a picture of something else
gets one of them too.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from kg2clip import device, settings, tables
from kg2clip.errors import UserError, run_program
from kg2clip.evaluate.contact import Answer, write_sheet, write_table
from kg2clip.evaluate.model import BATCH, Model
from kg2clip.evaluate.names import FORMS
from kg2clip.evaluate.pictures import Judge, find_pictures
from kg2clip.evaluate.taxa import read_taxa
from kg2clip.progress import Progress

log = logging.getLogger(__name__)


def main() -> None:
    """Read the arguments, ask the model, write table and sheet."""
    arguments = parse_arguments()
    if not 0.5 < arguments.threshold < 1:
        raise UserError("--threshold must lie between 0.5 and 1: below one half two answers could be right at a time")
    if wrong := next((prompt for prompt in arguments.prompts if "{c}" not in prompt), None):
        raise UserError(f"--prompts {wrong!r} has no {{c}}, the place of the name")
    if arguments.temperature is not None and arguments.temperature <= 0:
        raise UserError("--temperature must be above 0")
    device.use_threads(arguments.threads)
    taxa = read_taxa(arguments.taxa)
    pictures = find_pictures(arguments.pictures)
    model = Model(arguments.model, device.select(arguments.device))
    classifier = model.classifier([taxon.named(arguments.names) for taxon in taxa], arguments.prompts)
    if classifier.shared:
        log.warning("%d taxa share their name with another and can't be told apart by it", len(classifier.shared))
    arguments.temperature = arguments.temperature or fitted_temperature(arguments.model, arguments.names) or 1.0
    judge = Judge(model, classifier, taxa, model.logit_scale / arguments.temperature, arguments.threshold)
    answers: list[Answer] = []
    with Progress(total=len(pictures), desc="pictures", unit="pictures") as bar:
        for start in range(0, len(pictures), BATCH):
            part = pictures[start : start + BATCH]
            answers += judge.answers(part, arguments.pictures)
            bar.update(len(part))
    write_table(answers, arguments.output / "predictions.csv")
    note = describe(answers, len(taxa), arguments)
    write_sheet(
        answers[: arguments.shown], arguments.pictures.resolve().name, note, arguments.output / "contact-sheet.html"
    )
    print(f"{note}\n{arguments.output / 'predictions.csv'}\n{arguments.output / 'contact-sheet.html'}")


def fitted_temperature(model: Path, form: str) -> float | None:
    """The median of the temperatures that the model's evaluation fitted for a form of names; None without one."""
    model = model.resolve()
    found: dict[bool, list[float]] = {True: [], False: []}  # of the dataset's own test; of others, which count first
    for path in sorted((model.parent.parent / "evaluation" / model.name).glob("*.parquet")):
        table = tables.read(path)
        if "temperature" not in table.column_names:
            continue  # of captions
        rows = table.group_by(["nameForm", "temperature"]).aggregate([]).to_pylist()
        own = path.stem in settings.OWN
        found[own] += [row["temperature"] for row in rows if row["nameForm"] == form and row["temperature"]]
    temperatures = found[False] or found[True]
    return median(temperatures) if temperatures else None


def describe(answers: Sequence[Answer], taxa: int, arguments: argparse.Namespace) -> str:
    """What was done, in a sentence or two."""
    unread = sum(not answer.best for answer in answers)
    sure = sum(answer.taxon is not None and answer.taxon == answer.best[0][0] for answer in answers)
    groups = sum(answer.taxon is not None for answer in answers) - sure
    said = f"{len(answers):,} pictures, {taxa:,} taxa: {sure:,} named, {groups:,} as a higher group, "
    said += f"{len(answers) - unread - sure - groups:,} unsure (no answer of at least {arguments.threshold:.0%})"
    said += f", {unread:,} not readable" if unread else ""
    said += f"; temperature {arguments.temperature:.3g}"
    shown = f". The first {arguments.shown:,} are shown" if len(answers) > arguments.shown else ""
    return f"{said}{shown}."


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, metavar="MODEL", help="results/PROJECT/models/NAME, or hf-hub:OWNER/NAME")
    parser.add_argument("pictures", type=Path, metavar="FOLDER", help="folder of pictures, and folders in it")
    parser.add_argument(
        "--taxa",
        nargs="+",
        required=True,
        metavar="FILE_OR_NAME",
        help="entities.parquet; .csv or .tsv with Darwin Core columns; .txt with a name a line; or names",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("predictions"), metavar="FOLDER", help="default: predictions"
    )
    parser.add_argument("--names", choices=FORMS, default="common", help="how taxa are named (default: common)")
    parser.add_argument(
        "--prompts", nargs="+", default=["{c}"], metavar="TEXT", help='around the name: "a photo of {c}" (default: {c})'
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=0.6,
        metavar="P",
        help="probability that an answer must have; where no taxon has it, a higher group answers (default: 0.6)",
    )
    parser.add_argument(
        "--temperature",
        type=float,
        metavar="T",
        help="above 1 makes the model less sure of itself, below 1 surer (default: as fitted on the dev splits of the "
        "model's evaluation where its project has one, else 1)",
    )
    parser.add_argument("--shown", type=int, default=1000, metavar="N", help="pictures on the sheet (default: 1000)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    parser.add_argument("--threads", type=int, metavar="N", help="cores to compute with (default: all)")
    return parser.parse_args()


if __name__ == "__main__":
    run_program(main)
