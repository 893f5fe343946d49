"""Kill -9 at seeded moments, several in each stage, in mid-write too: the run that goes on ends as an undisturbed
one.
"""

from __future__ import annotations

import random
import re
import tarfile
import time
from pathlib import Path

from kg2clip.files import sha256_file
from workflow.small import SmallRun
from workflow.test_chain import SEARCHES

DRILL = str(Path(__file__).with_name("drill"))
SEED = 20251125
# Programs in the order of the chain, with the number of atomic writes that a run of the small chain surely makes.
WRITES = {
    "export_entities": 8,
    "build_queries": 2,
    "search_images": 2,
    "merge_candidates": 2,
    "fetch_batch": 5,
    "fetch_leftovers": 2,
    "decode_batch": 4,
    "decide_pictures": 2,
    "pack_dataset": 4,
    "train_model": 2,
    "evaluate_model": 2,
    "gather_scores": 2,
    "make_report": 2,
}
HITS = [f"results/test-drill/search/{search}.hits.parquet" for search in SEARCHES]


def moments() -> list[str]:
    """Three moments a program: torn, before a rename, after one; and one by the clock where work takes seconds."""
    draw = random.Random(SEED)
    found = []
    for program, writes in WRITES.items():
        # After a kill the next run has fewer writes left; the later moments look at the first of them.
        found.append(f"{program}:torn:{draw.randint(1, writes)}")
        found.append(f"{program}:renamed:1" if writes > 2 else f"{program}:written:1")
        if program in ("export_entities", "search_images", "fetch_batch", "pack_dataset", "train_model"):
            found.append(f"{program}:seconds:{draw.uniform(0.5, 3.0):.2f}")
    return found


def test_killed_anywhere_and_run_again_it_ends_as_undisturbed(undisturbed: SmallRun) -> None:
    drill = SmallRun("test-drill")
    drill.clear()
    survived = []
    for number, moment in enumerate(moments()):
        environment = {"KG2CLIP_DRILL": moment, "PYTHONPATH": DRILL}
        if number % 2:
            environment["KG2CLIP_DRILL_WRAPPER"] = "1"
        program = moment.split(":")[0]
        # Sources are asked one after the other: --until their rule would end after the first, so their files are named.
        goal = HITS if program == "search_images" else ["--until", program]
        done = drill.run(*goal, "--quiet", "all", environment=environment)
        if done.returncode == 0:  # a program that was done before its second came
            assert ":seconds:" in moment, moment
            continue
        if "error" in done.stdout.lower() and done.returncode not in (137, -9):
            raise AssertionError(f"{moment}: {done.stdout[-4000:]}")
        survived.append(moment)
        wait_for_quiet(drill, moment)
    assert len(survived) >= len(moments()) - 4, f"only {survived} did kill"
    done = drill.run("--quiet", "all")
    assert done.returncode == 0, done.stdout[-6000:]
    for path in ("dataset/manifest.parquet", "models/main/open_clip_model.safetensors"):
        assert sha256_file(drill.results / path) == sha256_file(undisturbed.results / path), path
    assert samples(drill) == samples(undisturbed)
    wait_for_quiet(drill, "the last run")


def samples(small: SmallRun) -> dict[str, bytes]:
    """The members of all shards; times aside, which differ from run to run."""
    found = {}
    for path in sorted((small.results / "dataset").glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                content = tar.extractfile(member).read()  # type: ignore[union-attr]
                found[f"{path.name}/{member.name}"] = re.sub(rb'"retrieved": ?"[^"]*"', b"", content)
    return found


def wait_for_quiet(drill: SmallRun, moment: str) -> None:
    """No server and no job may be left, soon after the kill."""
    for _ in range(100):
        if not drill.processes():
            return
        time.sleep(0.1)
    raise AssertionError(f"left behind after {moment}: {drill.processes()}")
