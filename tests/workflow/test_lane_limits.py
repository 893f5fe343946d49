"""A lane's limits hold over all its jobs together, and no run starts without them (design 6.5)."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from kg2clip import tables, web
from workflow.small import ROOT, surroundings

PROJECT = "test-lanes"
RESULTS = ROOT / "results" / PROJECT
ONE, LEFT, RIGHT = "commons.test", "a.test", "b.test"  # the last two lie in different batches of the lane web
RULE = {"batches": 2, "connections": 2, "requests_per_second": 1000, "megabits_per_second": 1000}
LANES = {"wikimedia": {"hosts": [ONE], **RULE}, "web": {"hosts": [], **RULE}}
PICTURE = b"\xff\xd8\xff\xe0" + bytes(1000)
SECONDS = 60  # that one job of the lane web waits for the other


@contextmanager
def counting_server() -> Iterator[tuple[int, Counter[str]]]:
    """Serve pictures; give the port and the most connections at a time, by host.

    Pictures wait until two jobs of the lane web have come, so that whatever may run at once does.
    """
    now, most, lock = Counter[str](), Counter[str](), threading.Lock()
    both, met = threading.Barrier(2), threading.Event()
    came: set[str] = set()

    class Connection(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        host = ""

        def do_GET(self) -> None:
            if not self.host:
                self.host = self.headers["Host"].split(":")[0]
                with lock:
                    now[self.host] += 1
                    most[self.host] = max(most[self.host], now[self.host])
            found = self.path != "/robots.txt"
            if found:
                self.wait()
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(PICTURE) if found else 0))
            self.end_headers()
            self.wfile.write(PICTURE if found else b"")

        def wait(self) -> None:
            with lock:
                first = self.host in (LEFT, RIGHT) and self.host not in came
                came.add(self.host)
            if first:
                both.wait(SECONDS)
                met.set()
            met.wait(SECONDS)
            time.sleep(0.1)

        def finish(self) -> None:
            super().finish()
            with lock:
                now[self.host] -= 1

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Connection)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server.server_address[1], most
    finally:
        server.shutdown()
        server.server_close()


def snakemake(lanes: dict, *options: str, port: int = 9) -> subprocess.CompletedProcess[str]:
    """Download what stands in the table of candidates; nothing before that stage runs."""
    shutil.rmtree(RESULTS, ignore_errors=True)
    urls = [f"http://{host}/{number}" for host in (ONE, LEFT, RIGHT) for number in range(16)]
    rows = [{"candidateID": f"{place:020x}", "accessURI": url, "license": "CC0-1.0"} for place, url in enumerate(urls)]
    tables.write(rows, tables.CANDIDATES, RESULTS / "search" / "candidates.parquet")
    content = {"project": PROJECT, "knowledge": {"roots": ["x"]}, "download": {"lanes": lanes, "shards_per_batch": 1}}
    config = ROOT / "results" / f"{PROJECT}.yaml"
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    jobs = [f"results/{PROJECT}/download/{lane}-{number:03d}.manifest.parquet" for lane in LANES for number in range(2)]
    command = ["snakemake", *jobs, "--configfile", str(config), "--replace-workflow-config", "--nolock"]
    places = {host: f"127.0.0.1:{port}" for host in (ONE, LEFT, RIGHT)}
    return subprocess.run(
        [*command, "--executor", "local", "--cores", "4", *options, "--allowed-rules", "fetch_batch"],
        cwd=ROOT,
        env=surroundings({web.RESOLVE: json.dumps(places)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )


def test_jobs_of_a_lane_together_keep_to_its_connections() -> None:
    """Two jobs of the lane wikimedia, which the profile lets run one at a time, beside two of web, which may overlap."""
    with counting_server() as (port, most):
        done = snakemake(LANES, "--profile", "local", port=port)
    assert done.returncode == 0, done.stdout[-3000:]
    parts = [tables.read(path) for path in (RESULTS / "download").glob("wikimedia-*.manifest.parquet")]
    assert len(parts) == 2 and min(part.num_rows for part in parts) >= 4
    assert most == {ONE: 2, LEFT: 2, RIGHT: 2}


@pytest.mark.parametrize("profile", sorted(path.parent.name for path in (ROOT / "profiles").glob("*/config.yaml")))
def test_no_profile_starts_a_lane_without_limit(profile: str) -> None:
    lanes = {**LANES, "museum": {"hosts": ["museum.test"]}}
    done = snakemake(lanes, "--profile", f"profiles/{profile}")
    assert done.returncode != 0 and "Traceback" not in done.stdout
    assert "no limit is set for the download lane museum" in done.stdout, done.stdout[-3000:]
    assert "--resources lane_museum=1" in done.stdout
    assert not (RESULTS / "download").exists() or not list((RESULTS / "download").glob("*.parquet"))
