"""A language model, asked about one entity at a time over the interface of OpenAI (`/chat/completions`).

Any server that speaks it will do: a hosted one, or vLLM, llama.cpp and Ollama on one's own machine. Every answer that
was paid for is kept at once, one line of a file each, so that nothing is asked twice; refused answers are kept too,
since they count for the caps. An answer is believed only if it is the JSON that was asked for. The key comes from an
environment variable and enters no file and no message.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests
from jsonschema import Draft202012Validator

from kg2clip import provenance, web
from kg2clip.errors import IncompleteError, UserError
from kg2clip.identifiers import stable_hash
from kg2clip.settings import Settings

log = logging.getLogger(__name__)

ATTEMPTS = 3  # answers to one question, before it counts as unanswerable
MAX_TOKENS = 1000  # of an answer
SECTION = "knowledge.language_model"


class _UnusableError(Exception):
    """What came back is not the JSON that was asked for; another try may bring it."""


class LanguageModel:
    """One model at one server, and the answers that it gave.

    Args:
        wanted: the config's section `knowledge.language_model`.
        contact: who asks, for the agent string.
        kept: the file of answers; this process is its only writer.
    """

    def __init__(self, wanted: Settings, contact: str, kept: Path) -> None:
        self.model: str = wanted["model"]
        self.calls = 0  # in all runs, refused answers included
        self.tokens = [0, 0]  # read and written by the model, in all runs
        self._wanted = wanted
        self._url = web.check_url(wanted["base_url"].rstrip("/") + "/chat/completions")
        self._host = web.host_of(self._url) or ""
        self._contact = contact
        self._session = web.session(contact, private_hosts=[self._host])  # the user's own server may be on this machine
        self._key = os.environ.get(wanted["key_variable"], "")
        self._kept = kept
        self._answers: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._under_way = 0
        self._read_kept()

    @property
    def cost(self) -> float:
        """What all calls cost, by the prices of the config, in their currency."""
        read, written = self.tokens
        prices: list[float] = [self._wanted["price_read"], self._wanted["price_written"]]
        return (read * prices[0] + written * prices[1]) / 1e6

    def record(self) -> dict[str, Any]:
        """For the provenance: the model, its calls, tokens and cost, in all runs of the project."""
        read, written = self.tokens
        return {
            "model": self.model,
            "calls": self.calls,
            "tokensRead": read,
            "tokensWritten": written,
            "cost": round(self.cost, 4),
        }

    def ask(self, instructions: str, question: Mapping[str, Any], schema: Mapping[str, Any]) -> Any | None:
        """The answer to a question, by the schema; None if the model gives none after three tries.

        Raises:
            IncompleteError: a cap is reached, or the server does not answer.
            UserError: the server refuses the request.
        """
        key = stable_hash(self.model, instructions, question, schema)
        if key in self._answers:
            return self._answers[key]
        web.check_contact(self._host, self._contact)
        answer = None
        for _ in range(ATTEMPTS):
            try:
                answer = web.with_retries(lambda: self._call(key, instructions, question, schema), self._url)
                break
            except _UnusableError as error:
                log.info("%s: unusable answer about %s: %s", self.model, question.get("name"), error)
        with self._lock:
            self._answers[key] = answer
        return answer

    def _call(self, key: str, instructions: str, question: Mapping[str, Any], schema: Mapping[str, Any]) -> Any:
        request = {
            "model": self.model,
            "temperature": 0,
            "max_tokens": MAX_TOKENS,
            "messages": [
                {"role": "system", "content": instructions},
                {"role": "user", "content": json.dumps(question, ensure_ascii=False)},
            ],
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": schema},
            },
        }
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        timeouts = (web.CONNECT_TIMEOUT, web.READ_TIMEOUT)
        with self._lock:
            self._check_caps()
            self._under_way += 1
        try:
            response = self._session.post(
                self._url, json=request, headers=headers, timeout=timeouts, allow_redirects=False
            )
        except requests.RequestException as error:
            self._release()
            raise web.TransientError(type(error).__name__) from None
        if response.status_code != 200:
            self._release()
        if response.status_code in web.TRANSIENT_STATUS:
            wait = web.retry_after(response.headers.get("Retry-After"))
            raise web.TransientError(f"status {response.status_code}", wait)
        if response.status_code != 200:
            raise UserError(self._refusal(response))
        return self._read(key, response, schema)

    def _read(self, key: str, response: requests.Response, schema: Mapping[str, Any]) -> Any:
        """The answer in a response that has been paid for: usable or not, it is kept before anything else happens."""
        try:
            said = response.json()
            usage = said.get("usage") or {}
            used = [int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)]
        except (ValueError, AttributeError, TypeError, RecursionError):
            said, used = None, [0, 0]
        try:
            answer = json.loads(said["choices"][0]["message"]["content"])
            Draft202012Validator(dict(schema)).validate(answer)
        except Exception as error:  # whatever a server may send: an unusable answer is refused, no crash
            self._keep({"key": key, "usage": used, "refused": type(error).__name__})
            raise _UnusableError(f"{type(error).__name__}") from None
        self._keep({"key": key, "usage": used, "answer": answer})
        return answer

    def _check_caps(self) -> None:
        if self.calls + self._under_way >= (most := self._wanted["max_calls"]):
            raise IncompleteError(
                f"{SECTION}: {most} calls of {self.model} are made, which is max_calls. "
                "Raise it and run the same command again; all answers are kept"
            )
        if self.cost >= (limit := self._wanted["max_cost"]):
            raise IncompleteError(
                f"{SECTION}: the calls of {self.model} cost {self.cost:.2f}, which reaches max_cost ({limit}). "
                "Raise it and run the same command again; all answers are kept"
            )

    def _refusal(self, response: requests.Response) -> str:
        said = " ".join(response.text[:500].split())
        said = said.replace(self._key, "***") if self._key else said  # a server may say back what it was told
        advice = (
            f"Check {SECTION}: base_url, model, and the key in the environment variable {self._wanted['key_variable']}"
        )
        return f"{self._url} refuses a request with status {response.status_code}: {said}. {advice}"

    def _read_kept(self) -> None:
        content = self._kept.read_bytes() if self._kept.exists() else b""
        for line in content.splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue  # the last line of a killed run
            self._count(row["usage"])
            if "answer" in row:
                self._answers[row["key"]] = row["answer"]
        if content and not content.endswith(b"\n"):
            self._append("\n")

    def _keep(self, row: dict[str, Any]) -> None:
        with self._lock:
            self._under_way -= 1
            self._count(row["usage"])
            self._append(json.dumps({"date": provenance.now(), "model": self.model, **row}) + "\n")

    def _release(self) -> None:
        with self._lock:
            self._under_way -= 1

    def _append(self, text: str) -> None:
        self._kept.parent.mkdir(parents=True, exist_ok=True)
        with open(self._kept, "a", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())

    def _count(self, used: list[int]) -> None:
        self.calls += 1
        self.tokens = [before + more for before, more in zip(self.tokens, used, strict=True)]
