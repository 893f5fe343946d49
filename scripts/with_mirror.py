"""Run a command with the embedded mirror beside it.

    python scripts/with_mirror.py --config config/demo.yaml -- snakemake --configfile config/demo.yaml --cores 2

Builds the mirror that the config describes (once), starts its servers on free ports, hands the map of host names to
the command, and takes the servers down with it, also after kill -9 of the command or of this wrapper. Only one
command at a time runs with one mirror.
"""

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType

from kg2clip import console, settings, web
from kg2clip.errors import UserError, run_program
from kg2clip.files import only_writer
from kg2clip.mirror.build import ensure_built


def main() -> None:
    """Parse arguments, build, serve, run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", nargs="+", help="after --, the command to run")
    settings.add_config_option(parser)
    arguments = parser.parse_args()
    config = settings.load(arguments.config)
    if "mirror" not in config:
        raise UserError(f"{arguments.config} has no section mirror; use config/demo.yaml")
    folder = Path("results") / config["project"] / "mirror"
    with only_writer(folder):
        ensure_built(folder, config["mirror"])
        status = run_beside(folder, config["mirror"]["latency"], arguments.command)
    sys.exit(status)


def run_beside(folder: Path, latency: float, command: list[str]) -> int:
    """Run the command in a process group of its own, with the servers up; return its exit status."""
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("serve_mirror.py")), str(folder), "--latency", str(latency)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as servers:
        assert servers.stdin and servers.stdout
        places = servers.stdout.readline()
        if not places:
            raise UserError("the mirror's servers did not start; their message stands above")
        again = shlex.join(["python", *sys.argv])
        environment = {console.COMMAND: again, **os.environ, web.RESOLVE: json.dumps(json.loads(places))}
        running = subprocess.Popen(command, env=environment, process_group=0)
        servers.stdin.write(f"{running.pid}\n")
        servers.stdin.flush()
        pass_on_signals(running.pid)
        status = running.wait()
        with suppress(ProcessLookupError):  # jobs that a killed Snakemake left behind
            os.killpg(running.pid, signal.SIGKILL)
        servers.stdin.close()
    return status if status >= 0 else 128 - status


def pass_on_signals(group: int) -> None:
    """Hand the signals that ask us to stop to the command, which is in a group of its own."""

    def hand_over(number: int, frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.killpg(group, number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, hand_over)


if __name__ == "__main__":
    run_program(main)
