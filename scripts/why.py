"""Tell which jobs would run again, and why, in plain words. Runs nothing.

    python scripts/why.py --profile local

Takes the options with which you would start snakemake. In: the workflow, the config, what is in results/. Out: a line
for each rule that has a reason of its own, and what follows from it. What re-runs a job: its files if they are gone,
its inputs, its settings (but for addresses, contact and speed), its step's code, its rule, its conda environment.
"""

import argparse
import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from kg2clip import settings
from kg2clip.errors import UserError, run_program
from kg2clip.files import read_json
from kg2clip.operations import why

SECTIONS = ()


def main() -> None:
    """Parse arguments, ask Snakemake for a dry-run, explain it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="as for snakemake, like all that follows")
    parser.add_argument("--profile", default="local", metavar="NAME", help="default: local")
    parser.add_argument("--configfile", nargs="+", default=[], metavar="FILE", help="default: config/config.yaml")
    parser.add_argument("--config", nargs="+", metavar="KEY=VALUE")
    parser.add_argument("--replace-workflow-config", action="store_true", help="don't merge with config/config.yaml")
    parser.add_argument("--sdm", metavar="METHOD", help="where the run is made with it: conda")
    for option in ("--until", "--omit-from", "--rerun-triggers"):
        parser.add_argument(option, nargs="+", metavar="NAME")
    options = vars(parser.parse_args())
    for path in options["configfile"]:
        settings.read_yaml(Path(path))
    with TemporaryDirectory() as folder:
        told = Path(folder, "config.json")
        jobs = why.read_jobs(dry_run(options, told))
        if not jobs:
            print("nothing would run: everything is as the config asks")
            return
        config = read_json(told)
    for line in why.explain(jobs, config, Path("results") / config["project"] / "provenance"):
        print(line)


def dry_run(options: dict[str, str | bool | list[str] | None], told: Path) -> str:
    """What `snakemake -n` says.

    Args:
        options: those of snakemake, by name.
        told: where the workflow writes the config in force, made of files and command line.

    Raises:
        UserError: Snakemake can't start; with what it said.
    """
    command = ["snakemake", "-n", "--nolock", "--nocolor", *why.command_line(options)]
    surroundings = {**os.environ, settings.TOLD: str(told)}
    try:
        done = subprocess.run(command, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except FileNotFoundError:
        raise UserError("snakemake is not on the PATH. Type: source .venv/bin/activate") from None
    said = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        raise UserError(why.trouble(said))
    return said


if __name__ == "__main__":
    run_program(main)
