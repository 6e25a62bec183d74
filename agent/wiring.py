"""Settings to working parts: the only place where parts are constructed.

`open_rapport()` is the Python entrance; the command line and the services stand on the same object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from agent.errors import BadFilter, SetupError, StoreBusy, StoreError, UnknownUser, UsageError
from agent.grounding.check import MARKUP
from agent.history.store import Store
from agent.llm.base import LLM
from agent.llm.connect import connect
from agent.persona.background import Background, background
from agent.persona.profiler import Profiler
from agent.recommend import gate
from agent.recommend.catalogue import documents, fields_of, parse_where
from agent.recommend.explain import Explain
from agent.recommend.recommender import Recommender
from agent.recommend.retrieve import Popular, Retrieve, popularity
from agent.settings import Settings, load
from agent.types import Answer, Condition, Item, Language, Polarity, Profile, Query, Recommendation, TagEdit
from vectorstore.base import Embedder, VectorStore, VectorStoreBusy, VectorStoreError
from vectorstore.index import SyncReport, sync

Progress = Callable[[int, int], None]
"""(done so far, to be done)."""
DOMAINS = {"movielens": "film", "lastfm": "artist", "anime": "anime", "amazon": "product", "sample": "film"}
"""What one item of a format's catalogue is called."""
MAX_TAG = 48
SHIPPED_GATE = Path(__file__).parent / "recommend" / "gate.json"


class Rapport:
    """One home, opened. Parts are made when they are first needed; close it, or use it in a `with` block."""

    def __init__(self, settings: Settings, llm: LLM | None = None, embedder: Embedder | None = None) -> None:
        self.settings = settings
        self._given_llm = llm
        self._given_embedder = embedder

    def __enter__(self) -> Rapport:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the database, the index and the models."""
        for name in ("index", "embedder", "llm", "store"):
            part = self.__dict__.pop(name, None)
            if part is not None:
                part.close()

    # what people call

    def profile(self, user: str, *, rebuild: bool = False) -> Profile:
        """What is believed about `user`, with receipts; built or updated when events are new. Raises UnknownUser."""
        return self.profiler(user, rebuild=rebuild)

    def recommend(
        self,
        user: str,
        n: int = 10,
        *,
        words: str = "",
        where: Sequence[str | Condition] = (),
        surprise: float = 0.2,
        language: Language | None = None,
        allow_new: bool = False,
    ) -> Answer:
        """`n` items with reasons. `where`: conditions such as "year>=1990". Raises UnknownUser, BadFilter."""
        conditions = tuple(self.condition(one) if isinstance(one, str) else one for one in where)
        query = Query(user, n, words, conditions, surprise, language)
        return self.recommender(query, allow_new=allow_new)

    def explain(self, user: str, item: str) -> Recommendation:
        """Why `item` would, or would not, suit `user`. Raises UnknownUser, UnknownItem."""
        return self.recommender.why(user, item)

    def known(self, user: str) -> None:
        """Raises UnknownUser for somebody about whom nothing is stored."""
        if not self.store.has_user(user):
            raise UnknownUser(f"nobody is called {user!r} in the history; `rapport import` brings people in")

    def state(self, user: str, name: str, action: Literal["add", "remove", "mute"], polarity: Polarity = 1) -> None:
        """Write down what a person says of a tag; no later profile overrides it. Raises UnknownUser, UsageError."""
        self.known(user)
        name = " ".join(name.split())
        if not 1 <= len(name) <= MAX_TAG or MARKUP.search(name):
            raise UsageError(f"a tag has 1 to {MAX_TAG} plain characters: {name!r}")
        feature = next((one.feature for one in self.profile(user).tags if one.name.casefold() == name.casefold()), "")
        if not feature:
            wanted = {f"{kind}:{name}".casefold() for kind in ("category", "creator", "word")}
            feature = next((one for one in self.background.population.features if one.casefold() in wanted), "")
        self.store.add_edit(TagEdit(user, name, feature, action, polarity, datetime.now(UTC)))

    def unstate(self, user: str, name: str) -> bool:
        """Take back what was said about a tag; says whether anything had been."""
        said = [one for one in self.store.edits(user) if one.name.casefold() == name.casefold()]
        for one in said:
            self.store.remove_edit(user, one.name, one.feature)
        return bool(said)

    def with_llm(self, llm: LLM) -> Rapport:
        """The same store, index and settings with another model. The store and the index stay this one's to close."""
        other = Rapport(self.settings, llm, self.embedder)
        other.__dict__["store"] = self.store
        if index := self._usable_index():
            other.__dict__["index"] = index
        return other

    def condition(self, text: str) -> Condition:
        """A filter as people write it. Raises BadFilter naming the fields that there are."""
        if not self.fields:
            raise BadFilter("the catalogue is empty: there is nothing to filter; `rapport import` fills it")
        return parse_where(text, self.fields)

    def refresh(self) -> None:
        """Forget what was derived from catalogue and events; after an import everything is looked at anew."""
        for name in ("background", "fields", "profiler", "recommender", "popular"):
            self.__dict__.pop(name, None)

    def build_index(self, progress: Progress | None = None, *, rebuild: bool = False) -> SyncReport:
        """Embed what is new in the catalogue, drop what is gone. Raises StoreError, StoreBusy, SetupError."""
        from vectorstore.chroma import ChromaStore

        embedder, entries = self.embedder, documents(self.store.all_items())
        try:
            if rebuild:
                if open_index := self.__dict__.pop("index", None):
                    open_index.close()
                with ChromaStore.rebuild(self.settings.index_folder, embedder.name, embedder.dimension) as fresh:
                    report = sync(fresh, embedder, entries, progress)
            elif self.index is None:
                raise StoreError("the index could not be opened")
            else:
                report = sync(self.index, embedder, entries, progress)
        except VectorStoreBusy as error:
            raise StoreBusy(str(error)) from error
        except VectorStoreError as error:
            raise StoreError(str(error)) from error
        self.refresh()
        return report

    # parts, made when first needed

    @cached_property
    def store(self) -> Store:
        self.settings.home.mkdir(parents=True, exist_ok=True)
        return Store.open(self.settings.database_url)

    @cached_property
    def llm(self) -> LLM:
        chosen = self.settings
        if self._given_llm is not None:
            return self._given_llm
        return connect(
            chosen.llm,
            cache=chosen.cache,
            context=chosen.context,
            threads=chosen.threads,
            api_key=chosen.api_key or None,
            timeout_s=chosen.timeout_s,
        )

    @cached_property
    def embedder(self) -> Embedder:
        return self._given_embedder or open_embedder(self.settings)

    @cached_property
    def index(self) -> VectorStore | None:
        """The catalogue's index; None where none was built yet. Raises StoreError when it is damaged or foreign."""
        from vectorstore.chroma import ChromaStore

        try:
            return ChromaStore.open(self.settings.index_folder, self.embedder.name, self.embedder.dimension)
        except VectorStoreBusy as error:
            raise StoreBusy(str(error)) from error
        except VectorStoreError as error:
            raise StoreError(str(error)) from error

    @cached_property
    def background(self) -> Background:
        return background(self.store)

    @cached_property
    def popular(self) -> list[str]:
        return popularity(self.background.stats)

    @cached_property
    def fields(self) -> Mapping[str, Any]:
        return fields_of(self.store.all_items())

    @property
    def domain(self) -> str:
        return self.settings.domain or self.store.meta("domain") or "item"

    @cached_property
    def profiler(self) -> Profiler:
        return Profiler(
            self.store, self.llm, self.background.population, self.domain, self.settings.language, self._near
        )

    @cached_property
    def recommender(self) -> Recommender:
        population = self.background.population
        return Recommender(
            store=self.store,
            llm=self.llm,
            profiler=self.profiler,
            retrieve=self._retrieve(),
            popular=Popular(self.store.items, self.popular),
            explain=Explain(self.store.items, self.background.stats, population, self.domain),
            vectors=self._vectors,
            gate=gate.load(self.settings.gate_file if self.settings.gate_file.exists() else SHIPPED_GATE),
        )

    def _retrieve(self) -> Retrieve | None:
        index = self._usable_index()
        if index is None:
            return None
        return Retrieve(index, self.embedder, self.store.items, self.popular, population=self.background.population)

    def _usable_index(self) -> VectorStore | None:
        """The index if it holds anything; answers without it are marked degraded, they do not fail."""
        try:
            index = self.index
        except (StoreError, SetupError):
            return None
        return index if index is not None and index.count() else None

    def _vectors(self, ids: Sequence[str]) -> Mapping[str, Any]:
        index = self._usable_index()
        return index.vectors(ids) if index is not None else {}

    def _near(self, liked: Sequence[str], leave_out: Sequence[str]) -> list[Item]:
        """Items around the liked ones: ten each, none of them left out."""
        import numpy as np

        index = self._usable_index()
        vectors = index.vectors(liked) if index is not None else {}
        if index is None or not vectors:
            return []
        found = index.search(np.stack(list(vectors.values())), 10, exclude=leave_out)
        return list(self.store.items({hit.id for hits in found for hit in hits}).values())


def open_embedder(settings: Settings) -> Embedder:
    """The embedder that `settings.embedder` names. Raises SetupError with the command that mends it."""
    spec, _, model = settings.embedder.partition(":")
    try:
        if spec == "builtin" and not model:
            from vectorstore.embed.llama import LlamaEmbedder
            from vectorstore.minilm import builtin_gguf

            return LlamaEmbedder(builtin_gguf(settings.cache))
        if spec == "gguf" and model:
            from vectorstore.embed.llama import LlamaEmbedder

            return LlamaEmbedder(Path(model).expanduser())
        if spec == "openai" and model:
            from vectorstore.embed.openai import OpenAIEmbedder

            url, _, name = model.rpartition("#")
            return OpenAIEmbedder(name, url, settings.api_key)
        if spec == "hashing" and not model:
            from vectorstore.embed.hashing import HashingEmbedder

            return HashingEmbedder()
    except VectorStoreError as error:
        raise SetupError(str(error)) from error
    raise SetupError(
        f"{settings.embedder!r} names no embedder: builtin, gguf:/path/file.gguf, openai:MODEL, "
        "openai:http://host:port/v1#MODEL or hashing"
    )


def open_rapport(
    home: str | Path | None = None,
    *,
    llm: str | LLM | None = None,
    embedder: str | Embedder | None = None,
    settings: Settings | None = None,
) -> Rapport:
    """Rapport on the state in `home`; further settings come from its rapport.toml, the environment, or `settings`.

    `llm` and `embedder` are specs as in agent.settings, or objects such as agent.llm.scripted.Scripted.
    Raises SetupError.
    """
    chosen = settings or load(
        home=Path(home).expanduser() if home else None,
        llm=llm if isinstance(llm, str) else None,
        embedder=embedder if isinstance(embedder, str) else None,
    )
    return Rapport(
        chosen,
        llm=None if isinstance(llm, str) else llm,
        embedder=None if isinstance(embedder, str) else embedder,
    )
