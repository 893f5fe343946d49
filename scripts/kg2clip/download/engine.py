"""img2dataset as the engine that takes a shard's rows through: the seam where our fetcher hands over the bytes.

img2dataset's Downloader asks its module's function `download_image_with_retry` for each row and accepts the results in
any order, by the key in each result. In its place stands a function that ignores which row is asked for and returns
whatever our scheduler has finished next, so no row waits for another one's host. Its writer is ours too. What stays:
its loop over rows, results and errors, and its checksums. Nothing is decoded here (design 6.3 and 6.4).
"""

from __future__ import annotations

import inspect
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from kg2clip.download import reasons
from kg2clip.download.fetch import Desk, Fetcher, Job
from kg2clip.errors import UserError

os.environ.setdefault("WANDB_MODE", "disabled")  # img2dataset imports wandb


def _import_downloader() -> Any:
    """img2dataset's module `downloader`, without the start of its package.

    That would import OpenCV, albumentations and, where it is installed, torch: 2 seconds and 560 MB in each job, for
    re-encoding, which is not done here.
    """
    spec = find_spec("img2dataset")
    if spec is not None and "img2dataset" not in sys.modules:
        sys.modules["img2dataset"] = module_from_spec(spec)
        try:
            return import_module("img2dataset.downloader")
        finally:
            del sys.modules["img2dataset"]  # who wants the package itself starts it
    return import_module("img2dataset.downloader")


seam = _import_downloader()
VERSION = "1.47.0"
FUNCTION = "download_image_with_retry"
POOL = "ThreadPool"
PARAMETERS = ["row", "timeout", "retries", "user_agent_token", "disallowed_header_directives"]

Save = Callable[[Job, bytes | None, str | None], None]  # the job, its body and the body's sha256


class StoppedError(Exception):
    """The fetcher was stopped before the shard was through."""


def check_seam() -> None:
    """Make sure that img2dataset is the one that this module was written for.

    Raises:
        UserError: another version, or its function is gone or is called otherwise.
    """
    try:
        found = version("img2dataset")
    except PackageNotFoundError:
        found = "none"
    function = getattr(seam, FUNCTION, None)
    parameters = list(inspect.signature(function).parameters) if function else []
    if found != VERSION or parameters != PARAMETERS or not hasattr(seam, POOL):
        raise UserError(
            f"img2dataset {VERSION} is needed, version {found} with {FUNCTION}({', '.join(parameters)}) is installed. "
            f"Install it with: pip install img2dataset=={VERSION}"
        )


class Engine:
    """Runs shards, several at a time if wanted, while it is entered; the seam is restored afterwards."""

    def __init__(self, fetcher: Fetcher, scratch: Path) -> None:
        """`scratch` is a folder for img2dataset's small files; it must exist."""
        self._fetcher = fetcher
        self._scratch = scratch
        self._desks: dict[str, Desk] = {}
        self._original: dict[str, Any] = {}

    def __enter__(self) -> Engine:
        """Put our function in the place of img2dataset's.

        Raises:
            UserError: the seam has moved.
        """
        check_seam()
        self._original = {name: getattr(seam, name) for name in (FUNCTION, POOL)}
        setattr(seam, FUNCTION, self._next_finished)
        setattr(seam, POOL, _NoPool)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put img2dataset's own back."""
        for name, own in self._original.items():
            setattr(seam, name, own)

    def run(self, number: int, pictures: Sequence[Sequence[str]], save: Save) -> None:
        """Fetch one shard's pictures, each from the first of its URLs that serves it.

        `save` is called for each in this thread, in the order of arrival.

        Raises:
            StoppedError: the fetcher was stopped.
            Exception: what `save` raised; the fetcher has been stopped then.
        """
        name = f"{number:05d}"
        desk = self._desks[name] = Desk()
        jobs = [Job(row, urls, desk) for row, urls in enumerate(pictures)]
        rows = self._scratch / f"{name}.arrow"
        # img2dataset passes the column `url` to the fetch function: it tells shards apart there, and nothing else.
        table = pa.table({"url": [name] * len(jobs), "row": range(len(jobs))})
        with pa.OSFile(str(rows), "wb") as file, pa.ipc.new_file(file, table.schema) as out:
            out.write_table(table)
        passing = _Passing(jobs, save, self._fetcher)
        self._fetcher.submit(jobs)
        self._downloader(partial(_Writer, passing), len(jobs)).download_shard((number, str(rows)))
        del self._desks[name]
        passing.check()

    def _downloader(self, writer: Any, rows: int) -> Any:
        return seam.Downloader(
            sample_writer_class=writer,
            resizer=_unchanged,
            thread_count=1,  # this one, which waits at the desk; the fetching has a scheduler of its own
            save_caption=False,
            extract_exif=False,
            output_folder=str(self._scratch),
            column_list=["url", "row"],
            timeout=0,
            number_sample_per_shard=rows,
            oom_shard_count=5,
            compute_hash="sha256",
            verify_hash_type=None,
            encode_format="jpg",
            retries=0,
            user_agent_token=None,
            disallowed_header_directives=None,
        )

    def _next_finished(
        self,
        row: tuple[int, str],
        timeout: float,
        retries: int,
        user_agent_token: str | None,
        disallowed_header_directives: Any,
    ) -> tuple[int, io.BytesIO | None, str | None]:
        """Stand in for img2dataset's function. It must never raise: that would block the shard for ever."""
        job = self._desks[row[1]].get()
        outcome = job.outcome
        if outcome is None or outcome.body is None:
            return job.key, None, outcome.reason if outcome else reasons.STOPPED
        return job.key, io.BytesIO(outcome.body), None


class _NoPool:
    """Stands in for img2dataset's pool of threads: the fetching has threads of its own, and handing over costs time."""

    def __init__(self, threads: int) -> None:
        pass

    def __enter__(self) -> _NoPool:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def imap_unordered(self, function: Callable[[Any], Any], rows: Iterable[Any]) -> Iterator[Any]:
        return map(function, rows)

    def terminate(self) -> None:
        pass

    def join(self) -> None:
        pass


def _unchanged(body: io.BytesIO, boxes: None) -> tuple[bytes, None, None, None, None, None]:
    """Stand in for img2dataset's Resizer, told to re-encode nothing: the bytes; no sizes, no error."""
    return body.read(), None, None, None, None, None


class _Passing:
    """One shard's results on their way from img2dataset to `save`."""

    def __init__(self, jobs: Sequence[Job], save: Save, fetcher: Fetcher) -> None:
        self._jobs = jobs
        self._save = save
        self._fetcher = fetcher
        self._saved = 0
        self._error: Exception | None = None
        self._stopped = False

    def take(self, row: int, body: bytes | None, sha256: str | None) -> None:
        job = self._jobs[row]
        self._stopped |= job.outcome is not None and job.outcome.reason == reasons.STOPPED
        # img2dataset prints what a writer raises and goes on, which would lose the row: keep it and stop instead.
        try:
            if job.outcome is None or (job.outcome.body is None) is not (body is None):
                raise RuntimeError(f"img2dataset {VERSION} does not pass on what {FUNCTION} gave: the seam has moved")
            if self._error is None and not self._stopped:
                self._save(job, body, sha256)
                self._saved += 1
        except Exception as error:
            self._error = error
            self._fetcher.stop()
        finally:
            if body is not None:
                self._fetcher.taken(job, len(body))
            job.outcome = None  # its body is on disk now

    def check(self) -> None:
        if self._error is not None:
            raise self._error
        if self._stopped:
            raise StoppedError
        if self._saved != len(self._jobs):
            raise RuntimeError(f"img2dataset returned {self._saved} of {len(self._jobs)} rows")


class _Writer:
    """img2dataset's writer interface; see its writer.py."""

    def __init__(
        self,
        passing: _Passing,
        shard_id: int,
        output_folder: str,
        save_caption: bool,
        oom_shard_count: int,
        schema: pa.Schema,
        encode_format: str,
    ) -> None:
        self._passing = passing

    def write(self, img_str: bytes | None, key: str, caption: str | None, meta: dict[str, Any]) -> None:
        self._passing.take(meta["row"], img_str, meta["sha256"])

    def close(self) -> None:
        """The shard is sealed by whoever ordered it."""
