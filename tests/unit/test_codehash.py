"""What re-runs a stage and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from kg2clip import codehash

PROGRAM = '"""Help."""\nfrom kg2clip import tables\nfrom kg2clip.stage import work\n\nSECTIONS = ("stage", "a.b")\n'
WORK = '"""Docs."""\n\ndef double(x):\n    """Docs."""\n    return 2 * x  # a comment\n'


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    files = {
        "program.py": PROGRAM,
        "kg2clip/tables.py": "A = 1\n",
        "kg2clip/progress.py": "A = 1\n",
        "kg2clip/stage/__init__.py": "",
        "kg2clip/stage/work.py": WORK + "from kg2clip import progress\n",
        "kg2clip/stage/page.html": "<p>",
        "kg2clip/stage/unused.py": "A = 1\n",
        "kg2clip/other/__init__.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(codehash, "SCRIPTS", tmp_path)
    return tmp_path


def hash_now() -> str:
    codehash._tree.cache_clear()
    codehash._hash.cache_clear()
    return codehash.code_hash("program")


@pytest.mark.parametrize(
    ("file", "old", "new", "changes"),
    [
        ("kg2clip/stage/work.py", "2 * x", "3 * x", True),
        ("kg2clip/stage/work.py", "# a comment", "# another", False),
        ("kg2clip/stage/work.py", "Docs.", "Better docs.", False),
        ("kg2clip/stage/page.html", "<p>", "<b>", True),
        ("kg2clip/tables.py", "A = 1", "A = 2", True),
        ("kg2clip/progress.py", "A = 1", "A = 2", False),
        ("kg2clip/stage/unused.py", "A = 1", "A = 2", False),
        ("program.py", "Help.", "More help.", False),
    ],
)
def test_code_counts_comments_do_not(scripts: Path, file: str, old: str, new: str, changes: bool) -> None:
    before = hash_now()
    text = (scripts / file).read_text()
    assert old in text
    (scripts / file).write_text(text.replace(old, new))
    assert (hash_now() != before) == changes


def test_sections_are_read_without_importing(scripts: Path) -> None:
    codehash._tree.cache_clear()
    assert codehash.sections("program") == ("stage", "a.b")
    with pytest.raises(LookupError):
        codehash.sections("kg2clip/tables")


def test_every_program_of_a_rule_names_its_sections() -> None:
    codehash._tree.cache_clear()
    root = Path(__file__).resolve().parents[2]
    programs = [
        line.split()[1].rstrip(":")
        for path in (root / "rules").glob("*.smk")
        for line in path.read_text().splitlines()
        if line.startswith("rule ")
    ]
    assert len(programs) > 10
    for program in programs:
        assert isinstance(codehash.sections(program), tuple)
