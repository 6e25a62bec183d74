"""llama.cpp's C API as Python values: one model file, its tokenizer, its contexts and its grammars.

Knows nothing of chats, schemas or requests. A context and a grammar are for one thread at a time.
"""

from __future__ import annotations

import ctypes
import logging
import math
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agent.errors import SetupError, Unavailable
from agent.llm.decoder import Logits, Row
from agent.llm.scheduler import RUNNING, SCRATCH, SEQUENCES

BATCH = 512  # rows; what a CPU computes in one go, and how long a cancelled prompt may go on
_OUTPUTS = max(RUNNING, SCRATCH) * 4
_CHUNK = 8192  # characters; see Native.tokenise
_NO_PIECE = 0
_TOKEN = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)], align=True)


def library() -> Any:
    """The module llama_cpp.llama_cpp; SetupError when the package is missing."""
    # Two OpenMP threads wait for each other many times in every layer of the model. By default they spin for
    # milliseconds, and beside other work, which may have the core that the other thread needs, all of that is lost:
    # on two cores with a load of 7, four sequences decoded 3 tokens a second in all, with 5,000 turns (about 50 us) 3
    # to 11, with 1,000 turns or sleeping at once 8 to 23 (measured). More turns pay on a machine that does nothing
    # else. OpenMP reads this when it is loaded, so it is set before the first import; whoever has set it decides.
    if not os.environ.keys() & {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}:
        os.environ["OMP_WAIT_POLICY"] = "passive"
        os.environ["GOMP_SPINCOUNT"] = "1000"  # GNU's OpenMP heeds this alone
    # The package prints what llama.cpp logs to stderr unless this logger is set; whoever set it wants to see it.
    logger = logging.getLogger("llama-cpp-python")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        from llama_cpp import llama_cpp
    except ImportError as error:
        raise SetupError("local models need llama-cpp-python: pip install '.[local]'") from error
    return llama_cpp


class Native:
    """An open model; `close` comes after those of its contexts.

    `repack`: whether llama.cpp may lay out weights anew for what the processor has (AMX among it).
    """

    def __init__(self, path: Path, *, gpu_layers: int, repack: bool = True) -> None:
        self._c = c = library()
        self._open = threading.Lock()  # the tokenizer must not be used while the model is freed
        parameters = c.llama_model_default_params()
        parameters.n_gpu_layers = gpu_layers
        parameters.use_extra_bufts = repack
        self._path = path
        self._gpu = bool(gpu_layers)
        self._model = c.llama_model_load_from_file(str(path).encode(), parameters)
        if not self._model:
            raise SetupError(f"llama.cpp cannot load {str(path)!r}: the file is damaged or of an unknown architecture")
        self._vocabulary = c.llama_model_get_vocab(self._model)
        self.trained_on: int = c.llama_model_n_ctx_train(self._model)
        self.vocabulary_size: int = c.llama_vocab_n_tokens(self._vocabulary)
        self.parameters: int = c.llama_model_n_params(self._model)
        self.controls = frozenset(self._special(c.LLAMA_TOKEN_ATTR_CONTROL | c.LLAMA_TOKEN_ATTR_UNKNOWN))
        self.ends = frozenset(
            token for token in range(self.vocabulary_size) if c.llama_vocab_is_eog(self._vocabulary, token)
        )

    def context(self, *, cells: int, threads: int) -> Context:
        """Room for `cells` tokens, computed by `threads`; SetupError without the memory for it."""
        parameters = self._c.llama_context_default_params()
        parameters.n_ctx = cells
        parameters.n_batch = parameters.n_ubatch = BATCH
        parameters.n_seq_max = SEQUENCES
        # One pool of cells for all sequences: a prefix is shared without a copy, and one long chat may take all of it.
        parameters.kv_unified = True
        parameters.n_outputs_max = _OUTPUTS
        parameters.n_outputs_max_per_seq = 0
        # On a CPU flash attention reads the whole pool for every row: decoding eight sequences took twice as long with
        # it (measured). On a GPU it is left to llama.cpp.
        auto, off = self._c.LLAMA_FLASH_ATTN_TYPE_AUTO, self._c.LLAMA_FLASH_ATTN_TYPE_DISABLED
        parameters.flash_attn_type = auto if self._gpu else off
        parameters.n_threads = parameters.n_threads_batch = threads
        opened = self._c.llama_init_from_model(self._model, parameters)
        if not opened:
            raise SetupError(f"no memory for a context of {cells} tokens of {str(self._path)!r}: set a smaller context")
        return Context(self._c, opened, cells, self.vocabulary_size)

    def close(self) -> None:
        with self._open:
            if self._model is not None:
                self._c.llama_model_free(self._model)
                self._model = None

    # -- the tokenizer

    @property
    def chat_template(self) -> str | None:
        template = self._c.llama_model_chat_template(self._model, None)
        return template.decode() if template else None

    @property
    def bos(self) -> int | None:
        """The token that must open every prompt, where the model wants one."""
        if not self._c.llama_vocab_get_add_bos(self._vocabulary):
            return None
        return self._c.llama_vocab_bos(self._vocabulary)

    def spelling(self, token: int) -> str:
        """How the vocabulary writes `token`, control tokens included; "" for none."""
        return self._c.llama_vocab_get_text(self._vocabulary, token).decode("utf-8", "replace") if token >= 0 else ""

    @property
    def bos_spelling(self) -> str:
        return self.spelling(self._c.llama_vocab_bos(self._vocabulary))

    @property
    def eos(self) -> int:
        return self._c.llama_vocab_eos(self._vocabulary)

    @property
    def eos_spelling(self) -> str:
        return self.spelling(self.eos)

    def tokenise(self, text: str, *, markup: bool) -> list[int]:
        """The tokens of `text`; only as `markup` are the spellings of control tokens read as such."""
        # In pieces, because llama.cpp's tokenizer recurses over the length of a run without a break.
        return [token for piece in _pieces(text) for token in self._tokenise(piece, markup)]

    def _tokenise(self, text: str, markup: bool) -> list[int]:
        raw = text.encode("utf-8", "replace")
        room = len(raw) + 2
        tokens = (ctypes.c_int32 * room)()
        with self._open:
            self._require_open()
            count = self._c.llama_tokenize(self._vocabulary, raw, len(raw), tokens, room, False, markup)
        if count < 0:
            raise Unavailable(f"the tokenizer needs {-count} tokens for {len(raw)} bytes")
        return tokens[:count]

    def piece(self, token: int) -> bytes:
        """What `token` adds to a text; nothing for control tokens."""
        room = 256
        buffer = ctypes.create_string_buffer(room)
        with self._open:
            self._require_open()
            length = self._c.llama_token_to_piece(self._vocabulary, token, buffer, room, _NO_PIECE, False)
        return buffer.raw[: max(length, 0)]

    def _special(self, attributes: int) -> list[int]:
        return [
            token
            for token in range(self.vocabulary_size)
            if self._c.llama_vocab_get_attr(self._vocabulary, token) & attributes
        ]

    def _require_open(self) -> None:
        if self._model is None:
            raise Unavailable("the model is closed")

    # -- grammars

    def grammar(self, text: str) -> Grammar | None:
        """A parsed GBNF grammar at its beginning; None when llama.cpp cannot parse `text`."""
        with self._open:
            self._require_open()
            sampler = self._c.llama_sampler_init_grammar(self._vocabulary, text.encode(), b"root")
        return Grammar(self._c, sampler) if sampler else None


class Context:
    """`cells` tokens of a model's memory, shared by numbered sequences (decoder.Decoder)."""

    batch = BATCH
    outputs = _OUTPUTS

    def __init__(self, c: Any, opened: Any, cells: int, vocabulary_size: int) -> None:
        self._c = c
        self._context = opened
        self._memory = c.llama_get_memory(opened)
        self._rows = _Rows(c)
        self._vocabulary_size = vocabulary_size
        self.cells = cells

    def decode(self, rows: Sequence[Row]) -> list[Logits]:
        if code := self._c.llama_decode(self._context, self._rows.filled(rows)):
            raise Unavailable(f"llama.cpp could not compute {len(rows)} tokens (code {code})")
        return [self._logits(n) for n, row in enumerate(rows) if row.wanted]

    def _logits(self, row: int) -> Logits:
        pointer = self._c.llama_get_logits_ith(self._context, row)
        return np.ctypeslib.as_array(pointer, shape=(self._vocabulary_size,))

    def copy(self, source: int, into: int, length: int) -> None:
        self._c.llama_memory_seq_cp(self._memory, source, into, 0, length)

    def cut(self, sequence: int, length: int) -> None:
        self._c.llama_memory_seq_rm(self._memory, sequence, length, -1)

    def clear(self) -> None:
        self._c.llama_memory_clear(self._memory, True)

    def close(self) -> None:
        if self._context is not None:
            self._c.llama_free(self._context)
            self._context = None


class _Rows:
    """A llama_batch over arrays of our own, which are filled a column at a time."""

    def __init__(self, c: Any) -> None:
        self._token, self._position, self._sequence = np.zeros((3, BATCH), np.int32)
        self._wanted = np.zeros(BATCH, np.int8)
        self._one = np.ones(BATCH, np.int32)
        self._sequences = self._sequence.ctypes.data + np.arange(BATCH, dtype=np.uintp) * self._sequence.itemsize
        fields = {
            "token": self._token,
            "pos": self._position,
            "n_seq_id": self._one,
            "seq_id": self._sequences,
            "logits": self._wanted,
        }
        types = dict(c.llama_batch._fields_)
        self._batch = c.llama_batch(**{name: array.ctypes.data_as(types[name]) for name, array in fields.items()})

    def filled(self, rows: Sequence[Row]) -> Any:
        """The batch with `rows`, until the next call."""
        count = self._batch.n_tokens = len(rows)
        self._token[:count] = [row.token for row in rows]
        self._position[:count] = [row.position for row in rows]
        self._sequence[:count] = [row.sequence for row in rows]
        self._wanted[:count] = [row.wanted for row in rows]
        return self._batch


class Grammar:
    """A grammar and how far into it an answer is."""

    def __init__(self, c: Any, sampler: Any) -> None:
        self._c = c
        self._sampler = sampler

    def clone(self) -> Grammar:
        return Grammar(self._c, self._c.llama_sampler_clone(self._sampler))

    def allowed(self, tokens: np.ndarray) -> np.ndarray:
        """Which of `tokens` may come next, as booleans."""
        data = np.zeros(len(tokens), _TOKEN)
        data["id"] = tokens
        array = self._c.llama_token_data_array(
            data=data.ctypes.data_as(self._c.llama_token_data_p), size=len(tokens), selected=-1, sorted=False
        )
        self._c.llama_sampler_apply(self._sampler, ctypes.byref(array))
        return data["logit"] != -math.inf

    def accept(self, token: int) -> None:
        """Go on by `token`, which must be allowed: llama.cpp aborts the process otherwise."""
        self._c.llama_sampler_accept(self._sampler, token)

    def close(self) -> None:
        if self._sampler is not None:
            self._c.llama_sampler_free(self._sampler)
            self._sampler = None


def _pieces(text: str) -> list[str]:
    """`text` in pieces of at most _CHUNK characters, cut before white space where there is some."""
    pieces = []
    start = 0
    while len(text) - start > _CHUNK:
        end = max(text.rfind(mark, start + _CHUNK // 2, start + _CHUNK) for mark in (" ", "\n"))
        end = start + _CHUNK if end < 0 else end
        pieces.append(text[start:end])
        start = end
    return [*pieces, text[start:]]
