"""Many pictures decoded by many processes: what comes out does not depend on how many there are."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial

from kg2clip.curate import kinds
from kg2clip.curate.decode import RefusedError, Rules, decode, encode
from kg2clip.curate.hashes import Looks, looks
from kg2clip.files import sha256_bytes
from kg2clip.processes import die_with_parent
from kg2clip.tars import Member

CHUNK = 8  # pictures handed to a process at once: about 0.1 s of work
LONGEST = 120  # seconds of processor time for one picture; one of 50 million pixels takes 2


@dataclass(frozen=True)
class Outcome:
    """What became of one picture: decoded, or refused for a reason.

    Attributes:
        sha256: of the bytes as fetched.
        jpeg: the decoded picture as JPEG; empty where only the fingerprints were asked for.
        width, height: of the original, upright, in pixels.
        kind: what kind of picture it looks like (kinds.KINDS).
    """

    sha256: str
    reason: str | None = None
    jpeg: bytes = b""
    format: str | None = None
    width: int | None = None
    height: int | None = None
    stored_width: int | None = None
    stored_height: int | None = None
    flags: tuple[str, ...] = ()
    looks: Looks | None = None
    kind: str | None = None


@dataclass(frozen=True)
class Work:
    """Decode one member of a tar by the rules; `store` asks for the JPEG."""

    member: Member
    rules: Rules
    store: bool = True


def examine(work: Work) -> Outcome:
    """Decode and fingerprint one picture."""
    content = work.member.read()
    sha256 = sha256_bytes(content)
    try:
        picture = decode(content, work.rules)
    except RefusedError as refusal:
        return Outcome(sha256, reason=str(refusal))
    return Outcome(
        sha256=sha256,
        jpeg=encode(picture.image, work.rules.jpeg_quality) if work.store else b"",
        format=picture.format,
        width=picture.width,
        height=picture.height,
        stored_width=picture.image.width,
        stored_height=picture.image.height,
        flags=picture.flags,
        looks=looks(picture.image),
        kind=kinds.seen(picture.image),
    )


def within(examine: Callable[[Work], Outcome], longest: float, work: Work) -> Outcome:
    """Examine one picture; after so many seconds of processor time the kernel ends this process.

    A signal that Python handles would not do: a decoder in C does not come back to it.
    """
    signal.setitimer(signal.ITIMER_PROF, longest)
    try:
        return examine(work)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


class Examiners:
    """Processes that examine pictures.

    A picture that kills its process, or keeps it busy for longer than LONGEST, is refused as `decoder-crash`.
    """

    def __init__(self, workers: int, examine: Callable[[Work], Outcome] = examine, longest: float = LONGEST) -> None:
        """Start `workers` processes when they are needed."""
        self._workers = workers
        self._examine = partial(within, examine, longest)
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Examiners:
        """Nothing is started yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes."""
        self._close()

    def outcomes(self, works: Sequence[Work]) -> Iterator[Outcome]:
        """The outcome of each picture, in the order of `works`."""
        done = 0
        while done < len(works):
            try:
                for outcome in self._start(self._workers).map(self._examine, works[done:], chunksize=CHUNK):
                    done += 1
                    yield outcome
            except BrokenProcessPool:
                # A hostile picture took its process down. Those that it may have been are gone through one by one.
                self._close()
                for work in works[done : done + CHUNK * (self._workers + 1)]:
                    done += 1
                    yield self._alone(work)
                self._close()

    def _alone(self, work: Work) -> Outcome:
        try:
            return self._start(1).submit(self._examine, work).result()
        except BrokenProcessPool:
            self._close()
            return Outcome(sha256_bytes(work.member.read()), reason="decoder-crash")

    def _start(self, workers: int) -> ProcessPoolExecutor:
        if self._pool is None:
            # Not `fork`: Arrow has threads in this process by now, and a fork with threads may hang.
            context = multiprocessing.get_context("forkserver")
            self._pool = ProcessPoolExecutor(workers, context, initializer=die_with_parent)
        return self._pool

    def _close(self) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
