"""A GGUF model inside this process, by llama.cpp; joins the chat template, the grammar and the scheduler.

Knows nothing of prompts, people or where model files come from.
"""

from __future__ import annotations

import codecs
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from agent.errors import LLMError, Refused, SetupError
from agent.llm.background import Background
from agent.llm.base import Chat, Completion, Message, Schema
from agent.llm.chat_template import ChatTemplate
from agent.llm.forced import ASCII, Forcer
from agent.llm.grammar import gbnf
from agent.llm.lanes import Lanes
from agent.llm.sampling import Pick
from agent.llm.scheduler import Finished, Request, Scheduler, Terms, Tokens, Usage, common
from agent.llm.scripted import normalised
from agent.llm.threads import default_threads, shared_out
from agent.llm.tokens import refuse_overflow

if TYPE_CHECKING:
    from agent.llm.native import Grammar, Native

_CAPABLE_FROM = 2_500_000_000  # parameters: what is sold as "3B" starts about here
_GRAMMARS = 64
_ALL_LAYERS = -1


class LlamaCpp:
    """The model file `path`, ready to chat. Any thread may call any method; all of them share one engine.

    `context`: tokens that prompt and answer may take together, and at the same time the room that all requests of a
    lane share; no more than the model was trained on. `threads`: see `threads.default_threads`. `gpu_layers`: how
    many layers a GPU holds; by default all of them when this build of llama.cpp has one, which `gpu` tells.
    Raises SetupError when the file cannot be used.
    """

    def __init__(
        self,
        path: Path,
        *,
        context: int = 4096,
        threads: int | None = None,
        gpu_layers: int | None = None,
        name: str | None = None,
    ) -> None:
        from agent.llm import tiles
        from agent.llm.native import Native, library

        offload = bool(library().llama_supports_gpu_offload())
        layers = (_ALL_LAYERS if offload else 0) if gpu_layers is None else gpu_layers
        self._native: Native = Native(path, gpu_layers=layers, repack=tiles.usable() or not tiles.built_with())
        source = self._native.chat_template
        if source is None:
            self._native.close()
            raise SetupError(f"{str(path)!r} has no chat template: use a model tuned for chat (often called Instruct)")
        self.name = name or path.stem
        self.gpu = offload and layers != 0
        self.capable = self._native.parameters >= _CAPABLE_FROM
        self.context = min(context, self._native.trained_on)
        self._template = ChatTemplate(source, bos=self._native.bos_spelling, eos=self._native.eos_spelling)
        self._grammars: OrderedDict[str, tuple[Grammar, Forcer]] = OrderedDict()
        self._building = threading.Lock()  # guards _grammars
        self._lanes = self._opened(threads or default_threads())

    def _opened(self, threads: int) -> Lanes:
        """The contexts, and what drives them."""
        lanes, each = (1, threads) if self.gpu else shared_out(threads, self._native.parameters)
        opened: list[Scheduler] = []
        try:
            for _ in range(lanes):
                opened.append(Scheduler(self._native.context(cells=self.context, threads=each)))
        except SetupError:
            Lanes(opened).close()
            self._native.close()
            raise
        return Lanes(opened)

    def count_tokens(self, text: str) -> int:
        return len(self._data(text))

    def generate(
        self,
        chats: Sequence[Chat],
        *,
        schema: Schema | None = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
        terms: Terms | None = None,
    ) -> list[Completion]:
        started = time.perf_counter()
        terms = terms or Terms()
        prompts = self._prompts(chats, max_tokens)
        shared = _shared(prompts)
        requests = (
            Request(
                prompt,
                max_tokens,
                self._pick(schema, temperature, drawn_from(seed, prompt)),
                shared=shared,
                terms=terms,
            )
            for prompt in prompts
        )
        with self._lanes.under_way(requests, terms) as submitted:
            return [self._completion(request, started) for request in submitted]

    def stream(
        self,
        chat: Chat,
        *,
        max_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
        terms: Terms | None = None,
    ) -> Iterator[str]:
        (prompt,) = self._prompts([chat], max_tokens)
        terms = terms or Terms()
        request = Request(prompt, max_tokens, self._pick(None, temperature, drawn_from(seed, prompt)), terms=terms)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        with self._lanes.under_way([request], terms):
            while not isinstance(result := request.results.get(), Finished):
                if isinstance(result, LLMError):
                    raise result
                if text := decoder.decode(self._native.piece(result)):
                    yield text
            if text := decoder.decode(b"", True):
                yield text

    def choose(self, chats: Sequence[Chat], choices: Sequence[str], *, terms: Terms | None = None) -> list[list[float]]:
        if not all(choices):
            raise Refused("an empty text cannot be chosen")
        options = tuple(tuple(self._data(choice)) for choice in choices)
        if len(set(options)) < len(options):
            raise Refused(f"the choices {list(choices)} are not all different")
        if not options:
            return [[] for _ in chats]
        room = Request((), choices=options).reserve
        prompts = self._prompts(chats, room + 1)
        shared = _shared(prompts)
        terms = terms or Terms()
        requests = (Request(prompt, choices=options, shared=shared, terms=terms) for prompt in prompts)
        with self._lanes.under_way(requests, terms) as submitted:
            return [normalised(_last(request).scores) for request in submitted]

    def usage(self) -> Usage:
        """What was computed since the model was opened."""
        return self._lanes.usage()

    def clear(self) -> None:
        """Drop what is kept of earlier prompts; what answers under way stand on goes when they end."""
        self._lanes.clear()

    def in_background(self) -> Background:
        """This model for work that nobody waits for: its requests stand still while any other one is computed."""
        return Background(self)

    def close(self) -> None:
        """Free the model; requests under way end in Unavailable, later ones raise LLMError."""
        with self._building:
            while self._grammars:
                self._grammars.popitem()[1][0].close()
        self._lanes.close()
        self._native.close()

    def prompt_tokens(self, chat: Chat) -> tuple[int, ...]:
        """What the model reads for `chat`: the template's marks as control tokens, everything said as plain text."""
        tokens: list[int] = []
        for span in self._template.spans(chat):
            tokens += self._data(span.text) if span.is_data else self._native.tokenise(span.text, markup=True)
        if self._native.bos is not None and tokens[:1] != [self._native.bos]:
            tokens.insert(0, self._native.bos)
        return tuple(tokens)

    def answer_tokens(self, text: str, *, ended: bool) -> tuple[int, ...]:
        """What the model writes when it answers `text`; `ended`: with the token that ends the answer."""
        return (*self._data(text), *((self._end,) if ended else ()))

    @cached_property
    def _end(self) -> int:
        """The token by which the chat template ends an answer; that of the vocabulary where it has none."""
        asked, answered = Message("user", "?"), Message("assistant", "!")
        spans = self._template.spans([asked, answered])
        said = [place for place, span in enumerate(spans) if span.is_data]
        after = "".join(span.text for span in spans[said[-1] + 1 :])
        closing = self._native.tokenise(after, markup=True)
        return next((token for token in closing if token in self._native.ends), self._native.eos)

    def _data(self, text: str) -> list[int]:
        return self._native.tokenise(text, markup=False)

    def _prompts(self, chats: Sequence[Chat], answer: int) -> list[Tokens]:
        prompts = [self.prompt_tokens(chat) for chat in chats]
        for prompt in prompts:
            refuse_overflow(len(prompt), answer, self.context)
        return prompts

    def _pick(self, schema: Schema | None, temperature: float, seed: int) -> Pick:
        grammar, forcer = (None, None) if schema is None else self._grammar(schema)
        return Pick(
            ends=self._native.ends,
            piece=self._native.piece,
            temperature=temperature,
            seed=seed,
            grammar=grammar,
            forcer=forcer,
        )

    def _grammar(self, schema: Schema) -> tuple[Grammar, Forcer]:
        key = json.dumps(schema, ensure_ascii=False)
        with self._building:
            if key not in self._grammars:
                grammar = self._native.grammar(gbnf(schema))
                if grammar is None:
                    raise Refused("llama.cpp cannot parse the grammar of this schema")
                forcer = Forcer(
                    tokenise=self._data,
                    piece=self._native.piece,
                    characters=ASCII + key,
                    ends=self._native.ends,
                )
                self._grammars[key] = grammar, forcer
                if len(self._grammars) > _GRAMMARS:
                    self._grammars.popitem(last=False)[1][0].close()
            self._grammars.move_to_end(key)
            grammar, forcer = self._grammars[key]
            return grammar.clone(), forcer

    def _completion(self, request: Request, started: float) -> Completion:
        tokens = []
        while not isinstance(result := request.results.get(), Finished):
            if isinstance(result, LLMError):
                raise result
            tokens.append(result)
        return Completion(
            text=b"".join(map(self._native.piece, tokens)).decode("utf-8", "replace"),
            finish=result.reason,
            prompt_tokens=len(request.prompt),
            completion_tokens=len(tokens),
            ms=(time.perf_counter() - started) * 1000,
        )


def _last(request: Request) -> Finished:
    result = request.results.get()
    if isinstance(result, Finished):
        return result
    raise result if isinstance(result, LLMError) else TypeError(f"a score was expected, not the token {result}")


def _shared(prompts: Sequence[Tokens]) -> int:
    """How many leading tokens all of several prompts have in common."""
    if len(prompts) < 2:
        return 0
    # The common beginning of all is that of the least and the greatest.
    return common(min(prompts), max(prompts))


def drawn_from(seed: int, prompt: Tokens) -> int:
    """The seed of one chat: those that are asked together with one seed draw independently of each other."""
    return crc32(np.asarray(prompt, np.int32).tobytes(), seed & 0xFFFFFFFF)
