"""Tell which jobs would run again, and why, in plain words. Runs nothing.

    python scripts/why.py --profile local

In:  the workflow, the config, what is in results/. Out: a line for each rule that has a reason of its own, and what
follows from it. What re-runs a job: its files if they are gone, its inputs, its settings (but for addresses, contact
and speed), its step's code, its rule, its conda environment.
"""

import argparse
import subprocess
from pathlib import Path

from kg2clip import settings
from kg2clip.errors import UserError, run_program
from kg2clip.operations import why

SECTIONS = ()
DEFAULT = Path("config/config.yaml")


def main() -> None:
    """Parse arguments, ask Snakemake for a dry-run, explain it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="local", metavar="NAME", help="as for snakemake (default: local)")
    parser.add_argument("--sdm", metavar="METHOD", help="as for snakemake, where the run is made with it: conda")
    parser.add_argument("--configfile", type=Path, default=DEFAULT, metavar="FILE", help=f"default: {DEFAULT}")
    arguments = parser.parse_args()
    config = settings.load(arguments.configfile)
    jobs = why.read_jobs(dry_run(arguments.profile, arguments.configfile, arguments.sdm))
    if not jobs:
        print("nothing would run: everything is as the config asks")
        return
    for line in why.explain(jobs, config, Path("results") / config["project"] / "provenance"):
        print(line)


def dry_run(profile: str, configfile: Path, deployment: str | None = None) -> str:
    """What `snakemake -n` says; with the way of software deployment, since each has other software to Snakemake.

    Raises:
        UserError: Snakemake can't start; with what it said.
    """
    command = ["snakemake", "-n", "--nolock", "--nocolor", "--profile", profile]
    command += ["--configfile", str(configfile), "--replace-workflow-config"]
    command += ["--sdm", deployment] if deployment else []
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except FileNotFoundError:
        raise UserError("snakemake is not on the PATH. Type: source .venv/bin/activate") from None
    if done.returncode != 0:
        raise UserError(f"snakemake can't tell:\n{done.stdout[-2000:].strip()}")
    return done.stdout


if __name__ == "__main__":
    run_program(main)
