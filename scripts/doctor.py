"""Look over this machine before a run: versions, config, keys, disk, GPU, endpoints, and a cluster's partitions.

    python scripts/doctor.py --profile slurm

In:  the config and a profile. Out: one line a finding; exit status 0 when nothing would stop the run, 1 otherwise.
Asks no source for anything: it only tries whether a connection can be made (not with --offline).
"""

import argparse
import sys
from collections.abc import Iterable

from kg2clip import settings
from kg2clip.errors import UserError, run_program
from kg2clip.operations.findings import Finding, error, tell

try:
    from kg2clip.operations import doctor
except ModuleNotFoundError as failure:  # a Python that has some of the packages, such as Snakemake's own
    sys.exit(
        f"error: the package {failure.name} is not installed for {sys.executable}. Type: source .venv/bin/activate"
    )

SECTIONS = ()


def main() -> None:
    """Parse arguments, check, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="local", metavar="NAME", help="as for snakemake (default: local)")
    parser.add_argument("--offline", action="store_true", help="try no connection")
    settings.add_config_option(parser)
    arguments = parser.parse_args()
    findings = [*doctor.check_python(), *doctor.check_packages()]
    try:
        config = settings.load(arguments.config)
    except UserError as failure:
        findings.append(error("config", str(failure)))
    else:
        findings += look_over(config, arguments.profile, arguments.offline)
    errors, total = tell(findings)
    if errors:
        print(f"{errors} of {total} findings would stop the run")
        sys.exit(1)
    print("nothing would stop the run")


def look_over(config: settings.Settings, profile: str, offline: bool) -> Iterable[Finding]:
    """All checks that need a config that can be read."""
    yield from doctor.check_contact(config)
    yield from doctor.check_keys(config)
    yield from doctor.check_paths(config)
    yield from doctor.check_recipes(config)
    yield from doctor.check_benchmarks(config)
    yield from doctor.check_baselines(config)
    yield from doctor.check_place(config)
    yield from doctor.check_disk(config)
    if profile == "local":
        yield from doctor.check_gpu(config)
    else:
        yield from doctor.check_home()
    yield from doctor.check_profile(profile, config)
    if not offline:
        yield from doctor.check_reach(config)


if __name__ == "__main__":
    run_program(main)
