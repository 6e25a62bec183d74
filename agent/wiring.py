"""Settings to working parts: the only place where parts are constructed.

`open_rapport()` is the Python entrance; the command line and the services stand on the same object.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from threading import RLock
from typing import Any, Literal, Self, TypeVar, overload

from agent.ask import outdated
from agent.chat.agent import Agent
from agent.chat.conversation import Chat, Driver
from agent.chat.guided import Guided, Means
from agent.chat.memory import Memory
from agent.chat.titles import Titles
from agent.chat.understand import Understand
from agent.chat.wishes import Catalogue
from agent.errors import BadFilter, SetupError, StoreError, UnknownUser, UsageError
from agent.grounding.check import MARKUP
from agent.history.conversations import Conversations
from agent.history.store import Store
from agent.llm.adapters import about, drop_learned
from agent.llm.base import LLM
from agent.llm.connect import adapter_of, connect
from agent.persona.background import KEY, Background, background
from agent.persona.profiler import Profiler
from agent.privacy import erasure
from agent.recommend import collaborative_file, fusion, gate
from agent.recommend.catalogue import checked, documents, fields_of, parse_where, plain
from agent.recommend.collaborative import Collaborative, CollaborativeConfig
from agent.recommend.explain import Explain, nobody
from agent.recommend.near import Near, Remembered
from agent.recommend.recommender import Recommender
from agent.recommend.rerank import share_of
from agent.recommend.retrieve import Popular, Retrieve, crowd_size, index_errors, popularity
from agent.settings import Settings, load
from agent.types import (
    Answer,
    Candidate,
    Condition,
    Event,
    Item,
    Language,
    Polarity,
    Profile,
    Query,
    Recommendation,
    TagEdit,
)
from vectorstore.base import Embedder, VectorStore, VectorStoreError
from vectorstore.embed.remembering import Remembering
from vectorstore.index import SyncReport, sync

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""(done so far, to be done)."""
DOMAINS = {"movielens": "film", "lastfm": "artist", "anime": "anime", "amazon": "product", "sample": "film"}
"""What one item of a format's catalogue is called."""
Made = TypeVar("Made")
MAX_TAG = 48
MOST = 1000
"""Items in one answer at most."""
MAX_WORDS = 2000
"""Characters of a request that are read."""
NO_INDEX = "there is no index yet; run `rapport index`"
SHIPPED_GATE = Path(__file__).parent / "recommend" / "gate.json"


class part(cached_property[Made]):
    """A part that is made when it is first needed: once, whichever threads come first."""

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> Made: ...
    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        if instance is None:
            return self
        with instance._making:
            return super().__get__(instance, owner)


class Rapport:
    """One home, opened. Parts are made when they are first needed; close it, or use it in a `with` block.

    Any thread may call any method but `close` and `build_index`.
    """

    def __init__(self, settings: Settings, llm: LLM | None = None, embedder: Embedder | None = None) -> None:
        self.settings = settings
        self._given_llm = llm
        self._given_embedder = embedder
        self._borrowed: frozenset[str] = frozenset()
        self._unusable = ""
        self.on_late: Callable[[str], None] = lambda user: None
        """Is told of somebody for whose profile the model was too late; `profiler.again` writes it anew."""
        # Held while a part is made: two threads must not open the index or load the model twice.
        self._making = RLock()

    def __enter__(self) -> Rapport:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the database, the index and the models; what was lent by another Rapport stays open."""
        with ExitStack() as stack:
            for name in ("store", "llm", "embedder", "index"):
                part = self.__dict__.pop(name, None)
                if part is not None and name not in self._borrowed:
                    stack.callback(part.close)
        self.refresh()

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
        like: Sequence[str] = (),
        without: Sequence[str] = (),
    ) -> Answer:
        """`n` items (1 to MOST) with reasons. `where`: conditions such as "year>=1990". `like`: ids of items that the
        answer should be close to; `without`: ids of items that are not wanted this time.

        Raises UnknownUser, BadFilter, UsageError.
        """
        if not 1 <= n <= MOST:
            raise UsageError(f"n is {n}; 1 to {MOST} items can be asked for")
        if not 0 <= surprise <= 1:
            raise UsageError(f"surprise is {surprise}; it goes from 0 (familiar) to 1 (surprising)")
        words = plain(words, MAX_WORDS)
        conditions = tuple(self.condition(one) for one in where)
        query = Query(user, n, words, conditions, surprise, language, tuple(like), tuple(without))
        return self.recommender(query, allow_new=allow_new)

    def ready(self) -> None:
        """Open model and index, which otherwise happens at their first use and one after the other.

        A model that runs here starts in a process of its own; the index's library is imported in this one meanwhile."""
        from vectorstore.chroma import load_library

        with ThreadPoolExecutor(1) as beside:
            if not {"llm", "index"} & self.__dict__.keys() and self.settings.index_folder.exists():
                # What goes wrong there goes wrong again, and is told, where the index is opened.
                beside.submit(load_library)
            _ = self.llm
        self._usable_index()

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
        if not 1 <= len(name) <= MAX_TAG or not name.isprintable() or MARKUP.search(name):
            raise UsageError(f"a tag has 1 to {MAX_TAG} plain characters: {name!r}")
        feature = next((one.feature for one in self.profile(user).tags if one.name.casefold() == name.casefold()), "")
        feature = feature or self.feature_named(name)
        self.store.add_edit(TagEdit(user, name, feature, action, polarity, datetime.now(UTC)))

    def feature_named(self, name: str) -> str:
        """What is counted in the catalogue under that name, e.g. "category:Jazz"; "" where nothing is."""
        wanted = {f"{kind}:{name}".casefold() for kind in ("category", "creator", "word")}
        return next((one for one in self.background.population.features if one.casefold() in wanted), "")

    def unstate(self, user: str, name: str) -> bool:
        """Take back what was said about a tag; says whether anything had been."""
        edits = self.store.edits(user)
        left = [one for one in edits if one.name.casefold() != name.casefold()]
        if len(left) < len(edits):
            self.store.replace_edits(user, left)
        return len(left) < len(edits)

    def forget(self, user: str) -> erasure.Proof:
        """Remove `user` from every table and file. Raises UnknownUser; StoreError when traces stayed behind."""
        # So are adapters that learned from everybody's histories; what they learned cannot be taken out of them.
        if self.store.has_user(user):
            drop_learned(self.settings.adapters_folder, self.settings.cache)
        # Item-to-item weights are sums over everybody, this person too: they go at once, and come back without them.
        weights = self.settings.collaborative_file
        trained = weights.exists() and self.store.has_user(user)
        if trained:
            weights.unlink()
        try:
            proof = erasure.forget(self.store, self.settings.home, user)
        finally:
            # A model may still hold this person's prompt, ready for the next one that begins like it.
            if llm := self.__dict__.get("llm", self._given_llm):
                llm.clear()
        # The counts over everybody still hold this person's events: count anew.
        self.store.set_meta(KEY, "")
        self.refresh()
        if trained:
            self.train()
        return proof

    def train(self, progress: Progress | None = None, *, anew: bool = False) -> Collaborative | None:
        """What goes together in everybody's histories, trained if that is missing or stale; None with too few people.

        Raises StoreError.
        """
        trained = collaborative_file.refresh(
            self.store, self.settings.collaborative_file, self._collaborating, progress, anew=anew
        )
        self.refresh()
        return trained

    def with_llm(self, llm: LLM) -> Rapport:
        """The same store, index and settings with another model. Store and index are lent: they stay this one's to
        close, so this one must outlive the other."""
        other = Rapport(self.settings, llm, self._given_embedder)
        self._usable_index()
        lent = {"store": self.store} | {
            name: self.__dict__[name] for name in ("index", "embedder") if name in self.__dict__
        }
        other.__dict__.update(lent)
        other._borrowed = frozenset(lent)
        other._unusable = self._unusable
        return other

    def condition(self, one: str | Condition) -> Condition:
        """A filter as people write it, or a checked one. Raises BadFilter naming the fields that there are."""
        if not self.fields:
            if self.store.count_items():
                raise BadFilter("there is nothing to filter by: the catalogue knows titles only")
            raise BadFilter("the catalogue is empty: there is nothing to filter; `rapport import` fills it")
        return parse_where(one, self.fields) if isinstance(one, str) else checked(one, self.fields)

    def refresh(self) -> None:
        """Forget what was derived from catalogue and events; after an import everything is looked at anew."""
        derived = ("background", "fields", "profiler", "recommender", "popular", "everything", "collaborative", "chat")
        with self._making:
            for name in (*derived, "_neighbours", "_entries"):
                self.__dict__.pop(name, None)
            self._unusable = ""

    def build_index(self, progress: Progress | None = None, *, rebuild: bool = False) -> SyncReport:
        """Embed what is new in the catalogue, drop what is gone. Raises StoreError, StoreBusy, SetupError."""
        from vectorstore.chroma import ChromaStore

        embedder, entries = self.embedder, documents(self.store.all_items())
        with vector_errors(self.settings.index_folder):
            if rebuild:
                if open_index := self.__dict__.pop("index", None):
                    open_index.close()
                with ChromaStore.rebuild(self.settings.index_folder, embedder.name, embedder.dimension) as fresh:
                    report = sync(fresh, embedder, entries, progress)
            else:
                report = sync(self.index, embedder, entries, progress)
        self.refresh()
        return report

    def check_index(self) -> str:
        """What is wrong with the index according to a look at some of its documents; "" for nothing, or without one.

        A damaged one is closed: when it is opened again it is looked at closely, and set aside."""
        from vectorstore.chroma import ChromaStore

        index = self._usable_index()
        if not isinstance(index, ChromaStore) or index.healthy():
            return ""
        with self._making:
            self.refresh()
            self.__dict__.pop("index", None)
            self._unusable = "the index failed its check; run `rapport index --rebuild`"
        index.close()
        return self._unusable

    # parts, made when first needed

    @part
    def store(self) -> Store:
        try:
            self.settings.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SetupError(f"the home {self.settings.home} cannot be made: {error.strerror}; see --home") from error
        return Store.open(self.settings.database_url, busy_s=self.settings.busy_s)

    @part
    def llm(self) -> LLM:
        return open_model(self.settings) if self._given_llm is None else self._given_llm

    @part
    def embedder(self) -> Embedder:
        return self._given_embedder or open_embedder(self.settings)

    @part
    def index(self) -> VectorStore:
        """The catalogue's index, empty where none was built yet. Raises StoreError when it is damaged or foreign."""
        from vectorstore.chroma import ChromaStore

        with vector_errors(self.settings.index_folder):
            return ChromaStore.open(self.settings.index_folder, self.embedder.name, self.embedder.dimension)

    @part
    def background(self) -> Background:
        return background(self.store)

    @part
    def popular(self) -> list[str]:
        return popularity(self.background.stats)

    @part
    def everything(self) -> list[str]:
        """The popular items, then those that nobody has had: the list of last resort must not run short."""
        return popularity(self.background.stats, (item.id for item in self.store.all_items() if item.title))

    @property
    def _collaborating(self) -> CollaborativeConfig:
        return CollaborativeConfig(counts=self.settings.interactions)

    @part
    def collaborative(self) -> Collaborative | None:
        """The trained weights; None while there are none, or their file is damaged, which `rapport doctor` tells."""
        try:
            return collaborative_file.load(self.settings.collaborative_file, self._collaborating)
        except StoreError:
            return None

    @part
    def fusion(self) -> fusion.Fusion:
        own = self.settings.fusion_file
        return fusion.load(own) if own.exists() else fusion.shipped()

    @part
    def fields(self) -> Mapping[str, Any]:
        return fields_of(self.store.all_items())

    @property
    def domain(self) -> str:
        return self.settings.domain or self.store.meta("domain") or "item"

    @property
    def without_index(self) -> str:
        """Why search and guesses do without the index; "" when it answers."""
        self._usable_index()
        return self._unusable

    @part
    def profiler(self) -> Profiler:
        return Profiler(
            self.store,
            self.llm,
            self.background.population,
            self.domain,
            self.settings.language,
            self._near,
            self._late,
        )

    def _late(self, user: str) -> None:
        self.on_late(user)

    @part
    def recommender(self) -> Recommender:
        self.ready()
        population = self.background.population
        return Recommender(
            store=self.store,
            llm=self.llm,
            profiler=self.profiler,
            retrieve=self._retrieve(),
            without=self._unusable,
            popular=self._popular,
            explain=Explain(
                self._entries, self.background.stats, population, self.domain, self._people_with(), self._vectors
            ),
            vectors=self._vectors,
            gate=gate.load(self.settings.gate_file if self.settings.gate_file.exists() else SHIPPED_GATE),
            others=partial(share_of, self.background.stats),
        )

    @part
    def chat(self) -> Chat:
        """The conversation: `rapport.chat.reply(user, conversation, text)`."""
        understand = Understand(
            Titles(self.store.all_items(), self.everything), Catalogue.of(self.store.all_items()), self.store.items
        )
        means = Means(
            self.store,
            self.recommend,
            self.explain,
            self.everything,
            self.domain,
            lambda words: [id for one in understand.titles.find(words) for id in one.items],
            self._believed,
        )
        memory, language = Memory(Conversations(self.store)), self.settings.language
        return Chat(means, understand, memory, self.llm, self._driver(means), language)

    def _driver(self, means: Means) -> Driver:
        """Who leads a turn, as set; else a model that can be trusted with it, else the fixed plan."""
        leads = self.settings.driver
        if leads == "agent" or (leads == "auto" and self.llm.capable and find_spec("langchain") is not None):
            return Agent(means, self.llm)
        return Guided(means)

    def _believed(self, user: str) -> Profile | None:
        return self.profile(user) if self.store.has_user(user) else None

    @part
    def _entries(self) -> Remembered[Item]:
        """Items of the catalogue by id."""
        return Remembered(self.store.items)

    @part
    def _neighbours(self) -> Near | None:
        index = self._usable_index()
        return None if index is None else Near(index, self.store.items)

    def _popular(self, query: Query, profile: Profile, events: Sequence[Event]) -> list[Candidate]:
        return Popular(self.store.items, self.everything)(query, profile, events)

    def _retrieve(self) -> Retrieve | None:
        index = self._usable_index()
        if index is None:
            return None
        return Retrieve(
            index,
            Remembering(self.embedder),
            self._entries,
            self.popular,
            population=self.background.population,
            crowd=crowd_size(self.background.stats),
            others=self.collaborative,
            share=self.fusion.weight,
        )

    def _people_with(self) -> Callable[[str, str], int]:
        return self.collaborative.people_with if self.collaborative else nobody

    def _usable_index(self) -> VectorStore | None:
        """The index if it holds anything; answers without it are marked degraded, they do not fail.

        Why there is none is kept in `_unusable`: a damaged index is set aside when it is opened, so the second look
        would find an empty one and tell another story.
        """
        if not self._unusable and "index" not in self.__dict__ and not self.settings.index_folder.exists():
            # Opening would make an empty one, which takes seconds.
            self._unusable = NO_INDEX
        if self._unusable:
            return None
        try:
            with index_errors():
                if self.index.count():
                    return self.index
            self._unusable = NO_INDEX
        except (StoreError, SetupError) as error:
            self._unusable = str(error)
        return None

    def _vectors(self, ids: Sequence[str]) -> Mapping[str, Any]:
        """The stored vectors of those of `ids` that have one. Raises StoreError."""
        index = self._usable_index()
        with index_errors():
            return index.vectors(ids) if index is not None else {}

    def _near(self, liked: Sequence[str], leave_out: Sequence[str]) -> list[Item]:
        """Items around the liked ones: ten each, none of them left out; none when the index fails, because a profile
        does without guesses."""
        if self._unusable or self._neighbours is None:
            return []
        try:
            return self._neighbours(liked, leave_out)
        except StoreError as error:
            self._unusable = str(error)
            return []


@contextmanager
def vector_errors(folder: Path) -> Iterator[None]:
    """The index's own errors, and the file system's about its folder, as ours. Raises StoreBusy, StoreError."""
    try:
        with index_errors():
            yield
    except OSError as error:
        raise StoreError(f"the index in {folder} cannot be opened: {error.strerror or error}") from error


def open_model(settings: Settings) -> LLM:
    """The language model that `settings.llm` names. Raises SetupError, LLMError."""
    if (adapter := adapter_of(settings.llm, settings.adapters_folder)) and (old := outdated(about(adapter).prompts)):
        logger.warning("the adapter %s is stale: %s changed since; train it again", adapter.stem, ", ".join(old))
    return connect(
        settings.llm,
        cache=settings.cache,
        context=settings.context,
        threads=settings.threads,
        api_key=settings.api_key or None,
        timeout_s=settings.timeout_s,
        concurrency=settings.concurrency,
        adapters=settings.adapters_folder,
    )


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
