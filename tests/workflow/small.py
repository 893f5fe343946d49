"""The demo in a reduced form: the real chain over a small mirror, as the tests run it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
MIRROR = {"species": 12, "pictures": 10, "test_pictures": 6}
STEPS = {"recipe": "demo", "steps": 8, "batch_size": 32}


class SmallRun:
    """A project of its own under results/, with the demo's config made small."""

    def __init__(self, project: str, demo: str = "demo.yaml", latency: float = 0, **changes: object) -> None:
        self.project = project
        self.results = ROOT / "results" / project
        config = yaml.safe_load((ROOT / "config" / demo).read_text(encoding="utf-8"))
        config["project"] = project
        config["mirror"].update(MIRROR, latency=latency)
        config["train"]["experiments"] = {"main": STEPS, "untrained": {**STEPS, "steps": 0}}
        config["train"]["checkpoint_seconds"] = 1
        config["evaluate"]["own"] = False  # two programs more; the demo runs them
        config.update(changes)
        self.config = ROOT / "results" / f"{project}.yaml"
        self.config.parent.mkdir(exist_ok=True)
        self.config.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")

    def clear(self) -> None:
        """Remove all results."""
        shutil.rmtree(self.results, ignore_errors=True)

    def command(self, *options: str) -> list[str]:
        """The command of `make demo`, for this project."""
        return [
            sys.executable, "scripts/with_mirror.py", "--config", str(self.config), "--", "snakemake",
            "--configfile", str(self.config), "--replace-workflow-config", "--profile", "local", "--nolock", *options,
        ]  # fmt: skip

    def run(
        self, *options: str, environment: dict[str, str] | None = None, before: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run the chain; output and errors together in `stdout`."""
        return subprocess.run(
            [*before, *self.command(*options)],
            cwd=ROOT,
            env=surroundings(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1200,
        )

    def processes(self) -> list[str]:
        """Command lines of processes that still work for this project."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if f"results/{self.project}/" in line or f"{self.project}.yaml" in line:
                found.append(line)
        return found


def surroundings(more: dict[str, str] | None = None) -> dict[str, str]:
    """The environment that the Makefile sets."""
    bin_folder = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "NO_ALBUMENTATIONS_UPDATE": "1",
        "WANDB_MODE": "disabled",
        **(more or {}),
    }
