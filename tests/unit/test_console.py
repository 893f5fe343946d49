"""What a run says on the terminal, from records as Snakemake 9 writes them."""

from __future__ import annotations

import io
import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kg2clip import console


class Run:
    """A logger with our console on it, and what was printed."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.console = console.Console(self.stream, "snakemake --profile local")
        self.logger = logging.Logger("test")
        self.logger.addHandler(self.console)

    def say(self, text: str | None, event: str | None = None, level: int = logging.INFO, **fields: Any) -> None:
        self.logger.log(level, text, extra={"event": event, **fields} if event else {})

    def start(self, number: int, rule: str, log: Path | None = None, **wildcards: str) -> None:
        logs = [str(log)] if log else []
        self.say("Rule", "job_info", jobid=number, rule_name=rule, wildcards=wildcards, log=logs)
        self.say("Shell command: python x.py", "shellcmd")

    def fail(self, number: int, rule: str, message: str | None = None) -> None:
        self.say("RuleException:\nCalledProcessError in file rules/x.smk", "error", logging.ERROR)
        fields = {"jobid": number, "rule_name": rule, "rule_msg": message, "log": []}
        self.say("Error in rule", "job_error", logging.ERROR, **fields)

    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


@pytest.fixture
def run() -> Run:
    made = Run()
    made.say("Building DAG of jobs...")
    made.say("Job stats:\n…", "run_info", stats={"fetch_batch": 2, "total": 3})
    return made


def test_a_line_a_job_and_nothing_else(run: Run) -> None:
    run.start(1, "fetch_batch", batch="web-000")
    run.say("Finished jobid: 1", "job_finished", job_id=1)
    run.say("1 of 3 steps (33%) done", "progress", done=1, total=3)
    run.start(2, "evaluate_model", experiment="main", benchmark="heldout")
    run.say("Select jobs to execute...")
    assert [line[9:] for line in run.lines()] == [
        "3 jobs to do",
        "[1 of 3] fetch_batch web-000",
        "[2 of 3] evaluate_model main heldout",
    ]


def test_a_failure_is_told_with_the_end_of_its_log_and_the_command(run: Run, tmp_path: Path) -> None:
    log = tmp_path / "fetch.log"
    log.write_text("12:00:00 began\nerror: the host asks to wait.\nType the same command later\n")
    run.start(1, "fetch_batch", log, batch="web-000")
    run.fail(1, "fetch_batch", "Slurm's status is TIMEOUT")
    run.say("Exiting because a job execution failed. Look above for error messages", level=logging.ERROR)
    run.say("WorkflowError:\nAt least one job did not complete successfully.", "error", logging.ERROR)
    told = run.stream.getvalue()
    assert f"FAILED fetch_batch web-000 (its log: {log})\n" in told
    assert told.count("the host asks to wait") == 1
    assert "  | error: the host asks to wait.\n  | Type the same command later\n" in told and "began" not in told
    assert "Slurm's status is TIMEOUT" in told
    assert told.endswith("1 of 3 jobs failed; 0 are done and stay so.\n"
                         "When the cause is mended, go on with:\n  snakemake --profile local\n")  # fmt: skip
    assert "CalledProcessError" not in told and "At least one job" not in told


def test_a_job_that_is_tried_again_and_succeeds_is_no_failure(run: Run) -> None:
    run.start(1, "train_model", experiment="main")
    run.fail(1, "train_model")
    run.start(1, "train_model", experiment="main")
    run.say("Finished jobid: 1", "job_finished", job_id=1)
    run.say("Elapsed time: 0:04:03.123456")
    assert run.lines()[-2].endswith("[1 of 3] again: train_model main")
    assert run.lines()[-1].endswith("1 of 3 jobs done. Elapsed time: 0:04:03")


def test_what_is_wrong_before_any_job_is_said(run: Run) -> None:
    run.say("MissingInputException in rule x", "error", logging.ERROR)
    run.say("a warning of Snakemake", level=logging.WARNING)
    run.say("Nothing to be done (all requested files are present and up to date).")
    assert [line for line in run.lines() if "jobs to do" not in line] == [
        "MissingInputException in rule x",
        "a warning of Snakemake",
        "Nothing to be done (all requested files are present and up to date).",
    ]


def test_long_jobs_say_how_far_they_are(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "PROGRESS_SECONDS", 0.0)
    log = tmp_path / "fetch.log"
    run.start(1, "fetch_batch", log, batch="web-000")
    assert list(run.console._progress()) == []
    log.write_text("12:00:00 fetching: 10 of 40 pictures\n12:00:10 fetching: 20 of 40 pictures\nno time here\n")
    assert [line[9:] for line in run.console._progress()] == ["  fetch_batch web-000: fetching: 20 of 40 pictures"]
    assert list(run.console._progress()) == [], "the same line is not said twice"


@pytest.mark.parametrize("asked", ["dryrun", "verbose", "printshellcmds", "quiet", None])
def test_who_asks_for_snakemakes_own_lines_gets_them(asked: str | None) -> None:
    settings = SimpleNamespace(dryrun=False, verbose=False, printshellcmds=False, quiet=frozenset())
    if asked:
        setattr(settings, asked, True)
    logger = logging.Logger("test")
    handler = logging.StreamHandler(io.StringIO())
    handler.name = "DefaultStreamHandler"
    logger.addHandler(handler)
    console.attach(logger, settings)
    assert isinstance(logger.handlers[0], console.Console) == (asked is None)


def test_the_command_is_what_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(console.COMMAND, raising=False)
    monkeypatch.setattr(sys, "argv", ["/x/bin/snakemake", "--config", "a b=1"])
    assert console.typed() == "snakemake --config 'a b=1'"
    monkeypatch.setenv(console.COMMAND, "make demo")
    assert console.typed() == "make demo"


@pytest.mark.parametrize(
    ("typed", "again"),
    [
        (["/x/bin/snakemake", "-F", "a", "--forcerun=b", "c", "--profile", "local"], "snakemake a c --profile local"),
        (
            ["/x/bin/snakemake", "--profile", "local", "-R", "a", "b", "--cores", "2"],
            "snakemake --profile local --cores 2",
        ),
        (["/x/snakemake/__main__.py", "--config", "x=it's"], """python -m snakemake --config 'x=it'"'"'s'"""),
    ],
)
def test_the_command_that_goes_on_makes_nothing_again(
    monkeypatch: pytest.MonkeyPatch, typed: list[str], again: str
) -> None:
    monkeypatch.delenv(console.COMMAND, raising=False)
    monkeypatch.setattr(sys, "argv", typed)
    assert console.typed() == again


@pytest.mark.parametrize(
    ("log", "shown"),
    [
        (b"a\x1b[2J\x1b[31mred\x1b[0m\x1b]0;title\x07b\n", "aredb"),
        (b"10%\r20%\rdone\n", "done"),
        (b"\xff\xfe bad \x00\x07\n", "\ufffd\ufffd bad   "),
        ("bad \u202e bidi\n".encode(), "bad   bidi"),
        (b"x" * 100_000, "x" * 400 + " ..."),
    ],
)
def test_hostile_words_in_a_log_do_nothing_to_the_terminal(run: Run, tmp_path: Path, log: bytes, shown: str) -> None:
    (tmp_path / "x.log").write_bytes(log)
    run.start(1, "fetch_batch", tmp_path / "x.log", batch="web-000")
    run.fail(1, "fetch_batch")
    run.say("Exiting because a job execution failed. Look above for error messages", level=logging.ERROR)
    told = run.stream.getvalue()
    assert f"  | {shown}\n" in told
    assert all(character.isprintable() or character == "\n" for character in told)


def test_a_killed_job_and_one_whose_files_did_not_appear_are_told(run: Run) -> None:
    run.start(1, "decide_pictures")
    words = "RuleException:\nCalledProcessError in file x, line 3:\nCommand 'a' returned non-zero exit status {}."
    run.say(words.format(137), "error", logging.ERROR)
    run.say("Error in rule", "job_error", logging.ERROR, jobid=1, rule_name="decide_pictures", rule_msg=None, log=[])
    run.start(2, "pack_dataset")
    run.say(words.format(1), "error", logging.ERROR)
    run.say("Error in rule", "job_error", logging.ERROR, jobid=2, rule_name="pack_dataset", rule_msg=None, log=[])
    run.start(3, "make_report")
    run.say("MissingOutputException in rule make_report", "error", logging.ERROR)
    run.say("Exiting because a job execution failed. Look above for error messages", level=logging.ERROR)
    told = run.stream.getvalue()
    assert told.count("killed (signal") == 1
    assert "FAILED decide_pictures\n  It was killed (signal 9), most likely since the memory was used up\n" in told
    assert "\n3 of 3 jobs failed; 0 are done" in told


def test_of_many_failures_the_first_are_told_at_length(run: Run) -> None:
    for number in range(300):
        run.start(number, "fetch_batch", batch=f"web-{number}")
        run.fail(number, "fetch_batch")
    before = len(run.lines())
    run.say("Exiting because a job execution failed. Look above for error messages", level=logging.ERROR)
    assert len(run.lines()) - before < 40 and "and 290 more, told above" in run.lines()


def test_it_may_be_closed_twice(run: Run) -> None:
    run.console.close()
    run.console.close()  # Snakemake does, and then logging at the end of the process
