"""Values through a pipe."""

from __future__ import annotations

import os

import pytest

from agent.llm.frames import MOST, Frames


@pytest.fixture
def ends():
    """A pipe: the end to read from, the end to write to."""
    read, write = os.pipe()
    with open(read, "rb") as source, open(write, "wb", buffering=0) as sink:
        yield source, sink


@pytest.mark.parametrize("value", [{"a": [1, -0.1, None]}, "\x00 \ud800 好 🎷", [], float("-inf"), 1.0000000000000002])
def test_what_goes_in_comes_out(ends, value):
    frames = Frames(*ends)
    frames.send(value)
    frames.send("next")
    assert frames.receive() == value
    assert frames.receive() == "next"


def test_the_end_is_an_end_also_in_the_middle_of_a_frame(ends):
    source, sink = ends
    sink.write(b"\x00\x00\x00\x09[1, ")
    sink.close()
    with pytest.raises(EOFError):
        Frames(source, sink).receive()


@pytest.mark.parametrize("printed", [b"GGML_ASSERT(false) failed\n", b"\x00\x00\x00\x04oops"])
def test_what_is_no_frame_is_said(ends, printed):
    ends[1].write(printed)
    with pytest.raises(ValueError):
        Frames(*ends).receive()


def test_too_large_a_value_is_not_begun(ends):
    frames = Frames(*ends)
    with pytest.raises(ValueError, match="more than a frame"):
        frames.send("x" * MOST)
    frames.send("small")
    assert frames.receive() == "small"


def test_sending_to_nobody_is_an_error(ends):
    source, sink = ends
    source.close()
    with pytest.raises(OSError):
        Frames(source, sink).send("x")
    sink.close()
    with pytest.raises(OSError):
        Frames(source, sink).send("x")
