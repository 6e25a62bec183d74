"""JSON values over two byte streams, each behind its length; knows nothing of what they mean.

JSON and not pickle: whoever can write into the stream can send values, but run nothing.
"""

from __future__ import annotations

import json
import threading
from typing import IO, Any

MOST = 1 << 26
"""Bytes of one frame. What announces more is no frame: somebody printed into the stream."""
_LENGTH = 4


class Frames:
    """Values in from `source`, values out to `sink`. Any thread may send, one at a time may receive."""

    def __init__(self, source: IO[bytes], sink: IO[bytes]) -> None:
        self._source = source
        self._sink = sink
        self._sending = threading.Lock()  # a frame is written whole

    def send(self, value: Any) -> None:
        """Raises OSError when the other side, or this one, is closed, and ValueError when `value` is too large.

        What else it raises (an interrupt) can leave a torn frame behind: the stream is of no use then.
        """
        body = json.dumps(value).encode()
        if len(body) > MOST:
            raise ValueError(f"{len(body)} bytes are more than a frame may have")
        rest = memoryview(len(body).to_bytes(_LENGTH, "big") + body)
        with self._sending:
            if self._sink.closed:
                raise BrokenPipeError("the stream is closed")
            while rest:
                rest = rest[self._sink.write(rest) :]

    def receive(self) -> Any:
        """The next value. Raises EOFError at the end of the stream and ValueError for what is no frame."""
        length = int.from_bytes(self._read(_LENGTH), "big")
        if length > MOST:
            raise ValueError(f"a frame of {length} bytes is announced")
        return json.loads(self._read(length))

    def close(self) -> None:
        with self._sending:
            self._sink.close()
        self._source.close()

    def _read(self, length: int) -> bytes:
        found = self._source.read(length)
        if len(found) < length:
            raise EOFError
        return found
