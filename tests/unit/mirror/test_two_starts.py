"""All sites: two mirrors of one seed answer byte for byte alike; another seed plants other faults, of the same kinds and rates."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from scipy.stats import fisher_exact

from kg2clip import settings
from kg2clip.mirror import brave, build, faults, gbif, inaturalist, many, oddities, rendered
from kg2clip.mirror.plan import COMMONS_HOST, PAGES, QUERY_HOST, UPLOAD_HOST, from_json, plan_benchmark, plan_files
from kg2clip.mirror.serve import open_sites

ROOT = Path(__file__).resolve().parents[3]
SMALL = {
    "species": 3,
    "pictures": 6,
    "test_pictures": 3,
    "observations": 4,
    "occurrences": 4,
    "branches": ["Prunellidae"],
}
CHANCE = 1e-3  # below it two counts are not of one rate
Answer = tuple[int, dict[str, str], bytes]


def built(folder: Path, seed: int) -> Path:
    config = {"project": "x", "knowledge": {"roots": ["x"]}, "mirror": {**SMALL, "seed": seed}}
    build.ensure_built(folder, settings.complete(config, "test")["mirror"])
    return folder


def requests_of(folder: Path) -> Iterator[tuple[str, str]]:
    """Host and path of what is asked of each site, some of it for pictures that only this mirror has."""
    names = [shown.scientific_name for shown in build.choose_species("rendered", SMALL["species"])]
    search = "/w/api.php?action=query&generator=search&gsrsearch="
    for name in map(quote, names):
        yield COMMONS_HOST, f"{search}{name}&gsrlimit=50"
        yield many.HOST, f"/1000{search}{name}&gsrlimit=3&gsroffset=50"
        yield gbif.API_HOST, f"/v2/species/match?scientificName={name}"
        yield inaturalist.API_HOST, f"/v1/taxa?q={name}"
        yield brave.API_HOST, f"/res/v1/images/search?q={name}&count=50&spellcheck=false"
    for line in (folder / PAGES).read_text(encoding="utf-8").splitlines():
        page = from_json(line)
        if not page.address:
            yield UPLOAD_HOST, quote(page.path)
            yield COMMONS_HOST, f"/w/api.php?action=query&titles=File:{quote(page.title)}"
    for number in range(30):
        yield inaturalist.API_HOST, f"/v1/observations?per_page=5&page={number + 1}"
        yield gbif.API_HOST, f"/v1/occurrence/search?limit=2&offset={number}"
    for number in range(8):
        yield many.FILE_HOSTS[number], f"/{number}.jpg"
    for observation in inaturalist.read_observations(folder):
        for photo in observation.photos:
            yield inaturalist.OPEN_HOST, f"/photos/{photo.id}/medium.{photo.path.rsplit('.')[-1]}"
    for occurrence in gbif.read_occurrences(folder):
        for media in occurrence.media:
            yield urlsplit(media.address).netloc, media.path
    for file in ("photo.avif", "display-p3.jpg", "animated.webp", "trap-007.jpg"):
        assert file in {oddity.file for oddity in oddities.ODDITIES}
        yield faults.FAULTS_HOST, f"/pictures/{file}"
    yield faults.FAULTS_HOST, "/w/api.php?gsrsearch=Robin&gsrlimit=50"
    calm = (faults.FAULTS_HOST, faults.OPTOUT, faults.ROBOTS, faults.NO_ROBOTS, faults.PICKY, faults.LIMITED)
    for fault in faults.FAULTS:
        parts = urlsplit(fault.url)
        if parts.netloc in calm and fault.reason not in ("too-large", "bad-url", "too-many-redirects", "redirect-loop"):
            yield parts.netloc, quote(parts.path, safe="/%")
    yield faults.MOODY, "/503/1/absent/robin.jpg"
    triples = "SELECT * WHERE { ?s ?p ?o FILTER(!isBlank(?s)) } ORDER BY ?s ?p ?o LIMIT 2000"
    yield QUERY_HOST, f"/query?query={quote(triples)}"


class Unredirected(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        return None


def ask(place: str, host: str, path: str) -> Answer:
    headers = {"Host": host, "X-Subscription-Token": brave.KEY, "User-Agent": "test"}
    opener = urllib.request.build_opener(Unredirected)
    try:
        with opener.open(urllib.request.Request(f"http://{place}{path}", headers=headers), timeout=20) as response:
            answer = response.status, dict(response.headers), response.read()
    except urllib.error.HTTPError as error:
        answer = error.code, dict(error.headers), error.read()
    answer[1].pop("Date", None)
    return answer


def answers(folder: Path, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], list[Answer]]:
    """Start a mirror and ask everything twice, as some answers change with the attempt."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [sys.executable, str(ROOT / "scripts" / "serve_mirror.py"), str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as servers:
        assert servers.stdin and servers.stdout
        places = json.loads(servers.stdout.readline())
        try:
            return {one: [ask(places[one[0]], *one) for _ in range(2)] for one in wanted}
        finally:
            servers.stdin.close()


@pytest.fixture(scope="module")
def mirrors(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Two of one seed in different folders, and one of another seed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        one, again, other = (built(tmp_path_factory.mktemp(f"seed{seed}") / "mirror", seed) for seed in (1, 1, 2))
    return one, again, other


def test_every_site_answers_alike_in_two_mirrors_of_one_seed_and_otherwise_in_another(mirrors: Any) -> None:
    one, again, other = mirrors
    wanted = list(dict.fromkeys(requests_of(one)))
    first, second, third = (answers(folder, wanted) for folder in (one, again, other))
    assert {request for request in wanted if first[request] != second[request]} == set()
    asked = {host for host, _ in wanted}
    assert all(asked & set(site.hosts) for site in open_sites(one)), "a site is left out of this test"
    statuses = Counter(status for both in first.values() for status, _, _ in both)
    assert statuses[200] > 200 and statuses[404] and statuses[503] and statuses[429]
    differ = {host for host, path in wanted if first[host, path] != third[host, path]}
    # The hostile hosts and the graph are the same in every mirror, up to the pictures that the graph names.
    assert differ - {QUERY_HOST} == {
        COMMONS_HOST, UPLOAD_HOST, gbif.API_HOST, inaturalist.API_HOST, inaturalist.OPEN_HOST, inaturalist.WEB_HOST,
        brave.API_HOST,
        many.HOST, *many.FILE_HOSTS, *(differ & {gbif.MEDIA_HOST}),
    }  # fmt: skip


def commons_kinds(seed: int) -> list[tuple[str, ...]]:
    shown = rendered.species()
    tests = plan_benchmark(shown, 12)
    return [
        (f"fault {page.fault}", f"text {page.text_fault}", f"subject {page.subject}", f"{page.pictured == page.species}",
         f"copy {page.copy_kind} {page.benchmark_key is None}", f"licence {page.license[0]}")
        for page in plan_files(shown, 40, tests, seed)
    ]  # fmt: skip


def many_kinds(seed: int) -> list[tuple[str, ...]]:
    pages = many.Many("rendered", rendered.species(), seed)
    return [
        (f"fault {page.fault}", f"copy {page.copy_kind}", f"text {page.text_fault}", f"{page.pictured == page.species}")
        for page in map(pages.page, range(4000))
    ]


def inaturalist_kinds(seed: int) -> list[tuple[str, ...]]:
    return [
        (f"grade {one.quality_grade}", f"licence {one.license_code}", f"photos {len(one.photos)}")
        for one in inaturalist.plan_observations(rendered.species(), 25, seed)
    ]


def gbif_kinds(seed: int) -> list[tuple[str, ...]]:
    return [
        (f"basis {one.basis_of_record}", f"status {one.occurrence_status}", f"licence {one.license}", f"media {len(one.media)}",
         *(f"{media.type} {media.format} {media.fault} {media.has_address}" for media in one.media[:1]))
        for one in gbif.plan_occurrences(rendered.species()[:30], 60, seed)
    ]  # fmt: skip


@pytest.mark.parametrize("kinds", [commons_kinds, many_kinds, inaturalist_kinds, gbif_kinds])
def test_another_seed_plants_other_faults_of_the_same_kinds_and_rates(kinds: Any) -> None:
    ones, twos = kinds(1), kinds(2)
    assert ones != twos and kinds(1) == ones
    first, second = (Counter(kind for row in rows for kind in row) for rows in (ones, twos))
    for kind in first | second:
        table = [[first[kind], len(ones) - first[kind]], [second[kind], len(twos) - second[kind]]]
        assert fisher_exact(table).pvalue > CHANCE, (kind, table)
    frequent = {kind for kind, count in (first + second).items() if count > 20}
    assert frequent <= set(first) & set(second) and len(frequent) >= 6


def test_throttled_requests_and_gaps_of_results_follow_from_the_seed(mirrors: Any) -> None:
    one, again, other = (inaturalist.INaturalistSite(folder) for folder in mirrors)
    paths = [f"/v1/observations?page={number}" for number in range(2000)]
    throttled = [[path for path in paths if site.throttles(path)] for site in (one, again, other)]
    assert throttled[0] == throttled[1] != throttled[2]
    counts = [len(found) for found in throttled]
    assert fisher_exact([[counts[0], 2000 - counts[0]], [counts[2], 2000 - counts[2]]]).pvalue > CHANCE
    assert counts[0] / 2000 == pytest.approx(inaturalist.THROTTLED / 100, rel=0.4)
