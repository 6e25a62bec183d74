"""The files and batches of an OpenAI-compatible API; knows neither people nor prompts.

What is sent carries a name, by which it is found again after a kill: nothing is submitted twice. No call is retried
here, because creating a batch twice would be paid twice.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from agent.batch.batchfile import URL
from agent.errors import Refused
from agent.llm import openai_wire as wire

if TYPE_CHECKING:
    from openai.types import Batch

WINDOW = "24h"
"""The only one that OpenAI offers."""
TAG = "rapport"
"""Key of the metadata that holds our name of a batch."""
CLOCKS_DIFFER_S = 86_400
"""How much older than our clock says something of ours may look."""
LOOKED_AT = 2_000
"""Files or batches, newest first, that are searched for one of ours."""
TRANSFER_S = 600.0
"""Longest wait for one step of an up- or download."""
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
CROWDED = frozenset({"token_limit_exceeded", "rate_limit_exceeded"})
"""Reasons for which a batch is not taken now, and may be later."""


@dataclass(frozen=True, slots=True)
class Status:
    """How far a batch is."""

    word: str
    """As the provider puts it."""
    ended: bool
    completed: bool
    files: tuple[str, ...]
    """With its answers and errors, as far as there are any."""
    done: int = 0
    total: int = 0
    problem: str = ""
    """Why all of it was turned down."""
    crowded: bool = False
    """It was turned down because too much is waiting already."""


class Provider:
    """The API at `base_url`, by default OpenAI's own. Methods raise LLMError."""

    def __init__(self, base_url: str | None, api_key: str | None, timeout_s: float) -> None:
        self._client = wire.client(base_url, api_key, timeout_s)
        # It shares its connections with the other, and is closed with it.
        self._slow = self._client.with_options(timeout=TRANSFER_S)

    def close(self) -> None:
        self._client.close()

    def upload(self, name: str, file: IO[bytes]) -> str:
        """Send a file of requests; returns its id there."""
        file.seek(0)
        with wire.vendor_errors():
            return self._slow.files.create(file=(f"{name}.jsonl", file), purpose="batch").id

    def create(self, name: str, file: str) -> str:
        """Begin a batch over an uploaded file; returns its id."""
        with wire.vendor_errors():
            return self._client.batches.create(
                completion_window=WINDOW, endpoint=URL, input_file_id=file, metadata={TAG: name}
            ).id

    def find(self, name: str, since: float) -> str | None:
        """The batch of that name, begun after `since` (seconds since 1970)."""
        with wire.vendor_errors():
            for number, one in enumerate(self._client.batches.list(limit=100)):
                if (one.metadata or {}).get(TAG) == name:
                    return one.id
                if number >= LOOKED_AT or one.created_at < since - CLOCKS_DIFFER_S:
                    break
        return None

    def uploads(self, name: str, since: float) -> list[str]:
        """The uploaded files of that name."""
        found = []
        with wire.vendor_errors():
            for number, one in enumerate(self._client.files.list(purpose="batch", limit=100)):
                if one.filename == f"{name}.jsonl":
                    found.append(one.id)
                if number >= LOOKED_AT or one.created_at < since - CLOCKS_DIFFER_S:
                    break
        return found

    def status(self, batch: str) -> Status:
        with wire.vendor_errors():
            return status_of(self._client.batches.retrieve(batch))

    @contextmanager
    def download(self, file: str) -> Iterator[IO[bytes]]:
        """A file's bytes, all of them: what breaks off raises before a line is read."""
        with tempfile.TemporaryFile() as kept:
            with wire.vendor_errors(), self._slow.files.with_streaming_response.content(file) as response:
                for piece in response.iter_bytes():
                    kept.write(piece)
            kept.seek(0)
            yield kept

    def delete(self, file: str) -> None:
        """Remove a file there, if it is still there."""
        try:
            with wire.vendor_errors():
                self._client.files.delete(file)
        except Refused as error:
            if not gone(error):
                raise


def gone(error: Refused) -> bool:
    """Whether the provider refused because there is no such thing."""
    import openai

    return isinstance(error.__cause__, openai.NotFoundError)


def status_of(batch: Batch) -> Status:
    counts = batch.request_counts
    errors = (batch.errors.data or []) if batch.errors else []
    problem = "; ".join(dict.fromkeys(one.message or one.code or "" for one in errors)) if errors else ""
    return Status(
        word=batch.status,
        ended=batch.status in ENDED,
        completed=batch.status == "completed",
        files=tuple(file for file in (batch.output_file_id, batch.error_file_id) if file),
        done=counts.completed + counts.failed if counts else 0,
        total=counts.total if counts else 0,
        problem=(problem or "no reason was given")[:300] if batch.status == "failed" else "",
        crowded=any(one.code in CROWDED for one in errors),
    )
