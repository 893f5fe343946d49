"""What a run says on the terminal: a line for each job, how far the long ones are, and at the end what failed.

In:  the records of Snakemake's log, and the log files of running jobs. Out: lines on the standard error, in the place
     of Snakemake's own. Its log file (.snakemake/log) keeps all of those; --verbose, --printshellcmds, --quiet and
     --logger bring them back to the terminal.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

COMMAND = "KG2CLIP_COMMAND"  # what a user typed, where it was more than the command of Snakemake
PROGRESS_SECONDS = 30.0
PROGRESS_JOBS = 3  # at a time
TAIL_LINES, TAIL_BYTES = 8, 16_384  # of the log of a job that failed
ERROR_LINES, LINE_WIDTH = 30, 400
FAILURES = 10  # told at length
# Options that would make again what is done; after those of FORCED come the names of files or rules.
FORCE, FORCED = ("-F", "--forceall", "-f", "--force"), ("-R", "--forcerun")

# Records without an event that tell a user nothing.
_CHATTER = (
    "Assuming unrestricted shared",
    "Auto-selected partition",
    "Building DAG",
    "Complete log",
    "Conda environments: ignored",
    "Execute ",
    "Group jobs:",
    "Job ",
    "No SLURM account",
    "Removing output files",
    "SLURM run ID",
    "Select jobs",
    "Shutting down",
    "Singularity containers",
    "Trying to restart",
    "Using shell",
    "Will use",
    "host:",
)
_END = "At least one job did not complete successfully."
# Colours, cursor movements, titles of the window.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
_SHOWN_EVENTS = ("error", "group_error", None)


@dataclass
class Job:
    """A job that runs, or ran and failed."""

    name: str
    log: Path | None
    started: float = field(default_factory=time.monotonic)
    said: str = ""
    why: str = ""


class Console(logging.StreamHandler[TextIO]):
    """Prints what a user wants to know out of Snakemake's records."""

    def __init__(self, stream: TextIO, command: str) -> None:
        super().__init__(stream)
        self._command = command
        self._running: dict[int, Job] = {}
        self._failed: dict[int, Job] = {}
        self._total = self._started = self._done = 0
        self._killed = ""  # how the job ended that is the next to be told of as failed
        self._ended = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Print the lines that a record is worth."""
        try:
            for line in self._lines(record):
                self.stream.write(f"{line}\n")
            self.flush()
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Stop watching the logs."""
        self._ended.set()
        super().close()

    def _lines(self, record: logging.LogRecord) -> Iterator[str]:
        event = getattr(record, "event", None)
        fields = record.__dict__
        if event == "run_info":
            self._total = fields["stats"]["total"]
            yield f"{_clock()} {self._total:,} jobs to do"
        elif event == "job_info":
            yield self._start(fields)
        elif event == "job_finished":
            self._done += 1
            self._running.pop(fields["job_id"], None)
        elif event == "job_error":
            job = self._running.pop(fields["jobid"], None) or Job(fields["rule_name"], None)
            job.why, self._killed = fields.get("rule_msg") or self._killed, ""
            self._failed[fields["jobid"]] = job
            yield f"{_clock()} FAILED {job.name}" + (f" (its log: {job.log})" if job.log else "")
        elif event in _SHOWN_EVENTS:
            yield from self._message(record)

    def _start(self, fields: dict[str, Any]) -> str:
        number = fields["jobid"]
        name = " ".join([fields["rule_name"], *map(str, fields["wildcards"].values())])
        again = "again: " if self._failed.pop(number, None) else ""
        self._started += not again
        self._running[number] = Job(name, next((Path(log) for log in fields["log"]), None))
        return f"{_clock()} [{self._started} of {self._total}] {again}{name}"

    def _message(self, record: logging.LogRecord) -> Iterator[str]:
        text = record.getMessage().strip()
        if text.startswith("Exiting because a job execution failed"):
            yield from self._summary()
        elif text.startswith("Elapsed time"):
            if not self._failed:
                yield f"{_clock()} {self._done:,} of {self._total:,} jobs done. {text.split('.')[0]}"
        elif text.startswith("Terminating"):
            yield from (text, f"Nothing that was reached is lost. Go on with:\n  {self._command}")
        elif text.startswith("RuleException:\nCalledProcessError"):
            self._killed = _signal(text)  # a killed job says nothing itself; the words of others say it better
        elif self._failed and text.endswith(_END):
            return
        elif text and text != "None" and not text.startswith(_CHATTER):
            yield text

    def _summary(self) -> Iterator[str]:
        self._failed.update(self._running)  # Snakemake tells no end of a job whose files did not appear
        for job in islice(self._failed.values(), FAILURES):
            yield f"\nFAILED {job.name}"
            if job.why:
                yield f"  {job.why}"
            if job.log:
                yield f"  The end of {job.log}:"
                yield from (f"  | {line}" for line in _last_words(job.log))
        if (more := len(self._failed) - FAILURES) > 0:
            yield f"\nand {more:,} more, told above"
        yield f"\n{len(self._failed):,} of {self._total:,} jobs failed; {self._done:,} are done and stay so."
        yield f"When the cause is mended, go on with:\n  {self._command}"

    def _watch(self) -> None:
        """Now and then, print the last line of progress of jobs that have run for a while."""
        while not self._ended.wait(PROGRESS_SECONDS):
            self.acquire()
            try:
                for line in self._progress():
                    self.stream.write(f"{line}\n")
                self.flush()
            except (OSError, ValueError):
                return  # the terminal is gone
            finally:
                self.release()

    def _progress(self) -> Iterator[str]:
        long = [job for job in self._running.values() if time.monotonic() - job.started > PROGRESS_SECONDS / 2]
        news = [(job, said) for job in long if job.log and (said := _progress_line(job.log)) not in ("", job.said)]
        for job, said in news[:PROGRESS_JOBS]:
            job.said = said
            yield f"{_clock()}   {job.name}: {said}"
        if len(self._running) > PROGRESS_JOBS:
            yield f"{_clock()}   {len(self._running):,} jobs run, {self._done:,} of {self._total:,} are done"


def attach(logger: logging.Logger, settings: Any) -> None:
    """Put our lines in the place of Snakemake's, unless its user asked for those.

    Args:
        logger: Snakemake's.
        settings: Snakemake's OutputSettings.
    """
    if settings.dryrun or settings.verbose or settings.printshellcmds or settings.quiet:
        return
    for handler in list(logger.handlers):
        if handler.name == "DefaultStreamHandler" and isinstance(handler, logging.StreamHandler):
            logger.removeHandler(handler)
            logger.addHandler(Console(handler.stream, typed()))


def typed() -> str:
    """The command that goes on with this run."""
    if given := os.environ.get(COMMAND):
        return given
    program = Path(sys.argv[0])
    return shlex.join(
        [*(["python", "-m", "snakemake"] if program.stem == "__main__" else [program.name]), *_unforced()]
    )


def _unforced() -> Iterator[str]:
    """What was typed after the program, without what would make again what is done, and its values."""
    inside = False
    for argument in sys.argv[1:]:
        inside = argument in FORCED or (inside and not argument.startswith("-"))
        if not inside and argument not in FORCE and not argument.startswith("--forcerun="):
            yield argument


def _signal(text: str) -> str:
    """What the words of Python and bash about a program's end say of a signal, if anything."""
    found = re.search(r"exit status (\d+)\.?$|died with <Signals\.\w+: (\d+)>\.?$", text)
    number = int(found[2] or int(found[1]) - 128) if found else 0
    if number <= 0:
        return ""
    return f"It was killed (signal {number})" + (", most likely since the memory was used up" if number == 9 else "")


def _clock() -> str:
    return time.strftime("%H:%M:%S")


def _last_words(path: Path) -> list[str]:
    """The message of a user's error, which stands at the end of its log, or else the log's last lines."""
    lines = _tail(path)
    starts = [place for place, line in enumerate(lines) if line.startswith("error: ")]
    return lines[starts[-1] :][:ERROR_LINES] if starts else lines[-TAIL_LINES:] or ["(nothing)"]


def _progress_line(path: Path) -> str:
    """The last timed line of a log, without its time."""
    timed = (re.match(r"\d\d:\d\d:\d\d (.+)", line) for line in reversed(_tail(path)))
    return next((found[1] for found in timed if found), "")


def _tail(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            return [_shown(line) for line in file.read().decode(errors="replace").splitlines()]
    except OSError:
        return []


def _shown(line: str) -> str:
    """A line that does nothing to a terminal: logs hold what servers of others said."""
    plain = "".join(c if c.isprintable() else " " for c in _ESCAPES.sub("", line))
    return plain if len(plain) <= LINE_WIDTH else f"{plain[:LINE_WIDTH]} ..."
