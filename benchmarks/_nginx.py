"""nginx on loopback, serving made pictures under any number of addresses."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from kg2clip.errors import UserError

FILES = 100  # different pictures; /NNNNNN.jpg shows the one of its last two digits
CONFIG = """
daemon off;
worker_processes 1;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log crit;
events {{ worker_connections 4096; }}
http {{
    log_format moments '$msec $status $body_bytes_sent';
    access_log {folder}/access.log moments buffer=64k flush=1s;
    types {{ image/jpeg jpg; }}
    sendfile on;
    keepalive_requests 1000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location ~ ^/\\d*(?<last>\\d\\d)\\.jpg$ {{ alias {folder}/pictures/$last.jpg; }}
        location / {{ return 404; }}
    }}
}}
"""


@dataclass(frozen=True)
class Server:
    """A running nginx."""

    port: int
    log: Path

    def url(self, number: int) -> str:
        """The address of a picture."""
        return f"http://127.0.0.1:{self.port}/{number:06d}.jpg"

    def moments(self, count: int) -> list[float]:
        """When pictures were served, as seconds since the epoch, since the last call.

        Raises:
            AssertionError: it were not `count` whole ones.
        """
        time.sleep(1.5)  # until the log's buffer is written
        lines = [line.split() for line in self.log.read_text(encoding="ascii").splitlines()]
        os.truncate(self.log, 0)
        times = [float(moment) for moment, status, _ in lines if status == "200"]
        assert len(times) == count, f"{len(times)} pictures were served, {count} were to be"
        return times


@contextmanager
def nginx(folder: Path, least: int, most: int) -> Iterator[Server]:
    """Serve pictures of `least` to `most` bytes.

    Raises:
        UserError: nginx is not installed.
    """
    program = shutil.which("nginx", path=os.pathsep.join([*os.get_exec_path(), "/usr/sbin"]))
    if program is None:
        raise UserError("the benchmark needs nginx. Install it with: apt-get install nginx-light")
    (folder / "pictures").mkdir(parents=True)
    for number in range(FILES):
        (folder / "pictures" / f"{number:02d}.jpg").write_bytes(_picture(number, least, most))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    user = "user root;" if os.geteuid() == 0 else ""  # else its workers may not read a folder that is ours only
    (folder / "nginx.conf").write_text(CONFIG.format(folder=folder, port=port, user=user), encoding="ascii")
    process = subprocess.Popen([program, "-c", str(folder / "nginx.conf"), "-p", str(folder)])
    try:
        _wait(port)
        yield Server(port, folder / "access.log")
    finally:
        process.terminate()
        process.wait()


def _picture(number: int, least: int, most: int) -> bytes:
    """Bytes that look like a JPEG; the sizes are spread evenly on a scale of logarithms."""
    size = round(least * (most / least) ** (number / (FILES - 1)))
    return b"\xff\xd8\xff\xe0" + random.Random(number).randbytes(size - 4)


def _wait(port: int) -> None:
    for _ in range(100):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise TimeoutError("nginx did not start")
