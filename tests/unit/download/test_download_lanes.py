"""Each candidate has one lane, one batch, one shard, and a host of the lane web is in one batch only."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hostile import config, write_candidates

from kg2clip import settings, web
from kg2clip.download import lanes, media
from kg2clip.download.selection import select

LANES = {
    "commons": {"hosts": ["upload.wikimedia.org"], "batches": 3},
    "flickr": {"hosts": ["staticflickr.com", "wikimedia.org"]},
    "web": {"batches": 4},
}


def test_batch_names_follow_the_config() -> None:
    assert lanes.leftover_names(config(lanes=LANES)) == ["commons-leftovers", "flickr-leftovers", "web-leftovers"]
    names = ["commons-000", "commons-001", "commons-002", "flickr-000", "web-000", "web-001", "web-002", "web-003"]
    assert lanes.batch_names(config(lanes=LANES)) == names


@pytest.mark.parametrize(
    ("host", "lane"),
    [
        ("upload.wikimedia.org", "commons"),  # two lanes cover it: the first in the config wins
        ("a.upload.wikimedia.org", "commons"),
        ("wikimedia.org", "flickr"),
        ("farm1.staticflickr.com", "flickr"),
        ("notstaticflickr.com", "web"),
        ("staticflickr.com.evil.org", "web"),
        ("a.test", "web"),
        (None, "web"),
    ],
)
def test_lane_of_host(host: str | None, lane: str) -> None:
    assert lanes.lane_of(host, lanes.lanes(config(lanes=LANES))).name == lane


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("a.b.example.org", "example.org"),
        ("img.museum.co.uk", "museum.co.uk"),
        ("museum.co.uk", "museum.co.uk"),
        ("fotos.example.com.br", "example.com.br"),
        ("naturkunde.de", "naturkunde.de"),
        ("www.naturkunde.de", "naturkunde.de"),
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("localhost", "localhost"),
    ],
)
def test_registered_domain(host: str, domain: str) -> None:
    assert lanes.registered_domain(host) == domain


ODD = [  # of these the host takes a parser to tell
    " http://upload.wikimedia.org/x",
    "http://upload.wikimedia.org:80/x",
    "http://upload.wikimedia.org?x",
    "http://upload.wikimedia.org",
    "http://upload.wikimedia.org:80@h1.1x.org/x",
    "http://h1.1x.org@upload.wikimedia.org/x",
    "http://upload.wikimedia.org\n.h1.1x.org/x",
    "http://upload.wikimedia.org\\h1.1x.org/x",
    "HTTP://upload.wikimedia.org/x",
    "http://bücher.de/x",
    "http://upload。wikimedia。org/x",
    "http://[2001:db8::1]/x",
    "http://1.2.3.4/x",
    "http://127.1/x",
    "http://a..b/x",
    "http:upload.wikimedia.org/x",
    "//upload.wikimedia.org/x",
    "ftp://upload.wikimedia.org/x",
    "",
]


def test_batches_share_out_all_candidates(tmp_path: Path) -> None:
    urls = [f"http://h{n % 40}.{n % 40}x.org/{n}" for n in range(800)]
    urls += [f"https://UPLOAD.wikimedia.org./{n}" for n in range(300)] + ["nonsense", "http://[x/"]
    urls += ODD
    candidates = write_candidates(tmp_path / "candidates.parquet", urls)
    options = config(lanes=LANES, shards_per_batch=5)
    seen: Counter[str | None] = Counter()
    places: defaultdict[str | None, set[str]] = defaultdict(set)
    sizes = Counter()
    for name in lanes.batch_names(options):
        batch = select(candidates, name, options)
        assert len(batch.shards) == 5
        for number in range(len(batch.shards)):
            shard = batch.candidates(number)
            assert [candidate.key for candidate in shard] == sorted(candidate.key for candidate in shard)
            for candidate in shard:
                host = web.host_of(candidate.links[0] or "")
                assert batch.owns(host) and lanes.lane_of(host, batch.lanes) is batch.lane
                seen[candidate.links[0]] += 1
                places[host].add(name)
        sizes[name] = sum(map(len, batch.shards))
    assert set(seen.values()) == {1} and set(seen) == set(urls)
    assert all(len(names) == 1 for host, names in places.items() if host and host != "upload.wikimedia.org")
    assert places["upload.wikimedia.org"] == {"commons-000", "commons-001", "commons-002"}
    assert min(sizes[f"commons-00{n}"] for n in range(3)) > 70
    assert all(name.startswith("web-") for name in places[None])


def test_the_snakefile_gets_the_names_fast() -> None:
    code = "import sys; import kg2clip.download.lanes; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=settings.ROOT / "scripts", capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"aiohttp", "pandas", "pyarrow", "requests", "img2dataset"} & set(loaded)


def test_a_job_starts_of_img2dataset_only_what_it_uses() -> None:
    code = "import sys; import kg2clip.download.batch; found = set(sys.modules); print(*found)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=settings.ROOT / "scripts", capture_output=True, text=True, check=True
    ).stdout.split()
    assert "img2dataset.downloader" in loaded
    assert not {"albumentations", "cv2", "torch", "scipy", "img2dataset", "img2dataset.main"} & set(loaded)


@pytest.mark.parametrize(
    ("body", "declared", "kind", "extension"),
    [
        (b"\xff\xd8\xff\xe0abc", "image/png", "image/jpeg", "jpg"),
        (b"\x89PNG\r\n\x1a\nabc", "", "image/png", "png"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/jpeg", "image/webp", "webp"),
        (b"GIF89a", "text/html", "image/gif", "gif"),
        (b"II*\x00", "", "image/tiff", "tif"),
        (b"\x00\x00\x00\x1cftypavif", "", "image/avif", "avif"),
        (b"\x00\x00\x00\x1cftypheic", "", "image/heic", "heic"),
        (b'<?xml version="1.0"?>\n<svg xmlns="x">', "", "image/svg+xml", "svg"),
        (b"<?xml version='1.0'?><feed/>", "image/jpeg", "text/xml", "bin"),
        (b"\xef\xbb\xbf \n<HTML lang=en>", "image/jpeg", "text/html", "bin"),
        (b"whatever", "Image/JPEG; q=1", "image/jpeg", "jpg"),
        (b"whatever", "", "application/octet-stream", "bin"),
        (b"Not found", "text/plain", "text/plain", "bin"),
    ],
)
def test_bytes_tell_their_type(body: bytes, declared: str, kind: str, extension: str) -> None:
    assert media.media_type(body, declared) == kind
    assert media.extension(kind) == extension
    assert media.may_be_image(kind) is not kind.startswith("text/")
