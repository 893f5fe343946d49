"""What a site of the mirror is: the host names that it answers for, and its answers.

All sites share one server and one port; the request's Host says which is meant. A site is listed in `serve.open_sites`.
"""

from __future__ import annotations

from typing import Protocol

from aiohttp import web


class Site(Protocol):
    """One service of the mirror's web."""

    hosts: tuple[str, ...]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request for one of the hosts."""
        ...
