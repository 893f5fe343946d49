"""The site of docs/: it is built without a warning, needs nothing from elsewhere, and its parts are true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

import draw_stages
from kg2clip import settings
from kg2clip.operations.doctor import rule_names
from kg2clip.train import model as models
from kg2clip.train import recipe as recipes

ROOT = settings.ROOT
PAGES = sorted([ROOT / "README.md", ROOT / "config" / "README.md", *(ROOT / "docs").glob("*.md")])
MADE = {"config/removed.csv"}  # by scripts/remove.py
FILES = {"train.json"}  # no key, though it begins like one
LEAST = {"project": "x", "knowledge": {"roots": ["Apidae"]}}


def blocks(language: str) -> list[tuple[str, str]]:
    """The fenced blocks of a language in all pages, with their page."""
    fence = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return [(path.name, found) for path in PAGES for found in fence.findall(path.read_text(encoding="utf-8"))]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_every_page_is_built(site: Path) -> None:
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert pages <= {path.stem for path in site.glob("*.html")}
    assert (site / "stages.svg").is_file() and not (site / "hooks.py").exists()


def test_the_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    for path in site.glob("*.html"):
        page = path.read_text(encoding="utf-8")
        fetched = re.findall(r"<(?:script|img|link|iframe)[^>]*(?:src|href)=[\"'](https?:)?//[^\"']*", page)
        assert not fetched, path.name
        assert "](../" not in page, f"{path.name}: a link into the repository was left as it stood"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}
            assert anchor in slugs, f"{target}: {file.name} has no such heading"


def test_the_stages_are_drawn_from_the_rules() -> None:
    rules = draw_stages.read_rules()
    assert {rule.name for rule in rules} == rule_names() - {"all", "score_against_truth"}
    drawn = draw_stages.PICTURE.read_text(encoding="utf-8")
    assert drawn == draw_stages.draw(rules), "draw it anew: python scripts/draw_stages.py"


@pytest.mark.parametrize(("page", "block"), blocks("yaml"))
def test_every_config_in_the_pages_can_be_used(page: str, block: str) -> None:
    content = yaml.safe_load(block)
    if "set-resources" in content:
        assert set(content["set-resources"]) <= rule_names()
        return
    if "partitions" in content:  # tests/workflow/test_profiles.py
        return
    filled = settings.complete({**LEAST, **content}, page)
    wanted = {experiment["recipe"] for experiment in filled["train"]["experiments"].values()} - {"my-recipe"}
    assert all((recipes.RECIPES / f"{name}.yaml").is_file() for name in wanted)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_key_and_file_that_a_page_names_exists(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for word in re.findall(r"`([^`\n]+)`", text):
        key = re.fullmatch(r"([a-z_]+(?:\.\w+)+)(?:: .*)?", word)
        if key and key[1].split(".")[0] in settings.read_schema()["properties"] and key[1] not in FILES:
            assert is_key(key[1].split(".")), f"{word} is no key of the config"
        if re.match(r"(\.?\./)*(scripts|config|docs|tests|rules|profiles|envs|benchmarks)/[\w./-]*$", word):
            assert (ROOT / word).exists() or word in MADE, f"there is no {word}"


def is_key(parts: list[str]) -> bool:
    """Whether the schema knows a key; those of free names (an experiment, a lane) by the names below them."""
    rule = settings.read_schema()
    for part in parts:
        rule = rule.get("properties", {}).get(part) or rule.get("additionalProperties")
        if not isinstance(rule, dict):
            return False
    return True


def test_the_line_that_shows_a_filter_stands_in_the_code() -> None:
    (line,) = (block.strip() for page, block in blocks("python") if page == "extending.md")
    assert line in (ROOT / "scripts/kg2clip/curate/decisions.py").read_text(encoding="utf-8")


def test_the_tutorial_uses_a_model_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = (block for page, block in blocks("python") if page == "tutorial.md")
    tiny = {
        "recipe": "demo",
        "model_cfg": {
            "embed_dim": 16,
            "vision_cfg": {"width": 16, "layers": 1, "head_width": 8, "patch_size": 16},
            "text_cfg": {"width": 16, "layers": 1, "heads": 2, "vocab_size": 49408},
        },
        "image_size": 32,
    }
    torch.manual_seed(1)
    recipe = recipes.load(settings.complete({**LEAST, "train": {"experiments": {"main": tiny}}}, "test"), "main")
    models.export(models.create(recipe), recipe, tmp_path / "results/bumblebees/models/main")
    Image.new("RGB", (40, 30), "yellow").save(tmp_path / "bee.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    exec(compile(block, "tutorial.md", "exec"), {})
    said = capsys.readouterr().out
    assert "Bombus terrestris" in said and "Apis mellifera" in said
    shares = [float(number) for number in re.findall(r": ([0-9.e-]+)", said)]
    assert len(shares) == 3 and abs(sum(shares) - 1) < 1e-3
