"""What only the Chroma store promises: one owner, one embedder, damage found, rebuilds that replace or leave all."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vectorstore import chroma_folder, chroma_generation
from vectorstore.base import Document, VectorStoreBusy, VectorStoreError
from vectorstore.chroma import ChromaStore, probe

DIMENSION = 16
ROWS = 1200  # more than the 1,000 after which Chroma writes its index files
DOCUMENTS = [Document(f"d{at}", "", {"n": at}) for at in range(ROWS)]


def vectors(seed: int = 0, n: int = ROWS) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(n, DIMENSION)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def open_store(folder: Path, embedder: str = "invented", dimension: int = DIMENSION) -> ChromaStore:
    return ChromaStore.open(folder, embedder, dimension)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cleanly closed store; tests work on copies."""
    folder = tmp_path_factory.mktemp("filled") / "index"
    store = open_store(folder)
    store.upsert(DOCUMENTS, vectors())
    store.close()
    return folder


@pytest.fixture
def folder(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(filled, tmp_path / "index"))


def first_hit(store: ChromaStore, vector: np.ndarray) -> str:
    return store.search(vector[None], 1)[0][0].id


def test_what_was_written_is_there_after_reopening(folder: Path) -> None:
    store = open_store(folder)
    assert store.count() == ROWS
    assert store.healthy()
    assert first_hit(store, vectors()[77]) == "d77"
    assert set(store.hashes()) == {document.id for document in DOCUMENTS}
    store.close()
    store.close()


def test_the_folder_has_one_owner(folder: Path) -> None:
    store = open_store(folder)
    for attempt in (open_store, probe):
        with pytest.raises(VectorStoreBusy, match="open in another process"):
            attempt(folder)
    with pytest.raises(VectorStoreBusy), ChromaStore.rebuild(folder, "invented", DIMENSION):
        pass
    store.close()
    open_store(folder).close()


OWNER = """
import sys, time
from pathlib import Path
from vectorstore.chroma import ChromaStore
store = ChromaStore.open(Path(sys.argv[1]), "invented", 16)
print("mine", flush=True)
time.sleep(60)
"""


def test_another_process_is_refused_and_its_death_frees_the_folder(folder: Path) -> None:
    root = Path(chroma_folder.__file__).parents[1]
    other = subprocess.Popen([sys.executable, "-c", OWNER, str(folder)], stdout=subprocess.PIPE, text=True, cwd=root)
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == "mine\n"
        with pytest.raises(VectorStoreBusy):
            open_store(folder)
        other.kill()
    assert not (folder / "g1.seal.json").exists()
    store = open_store(folder)
    assert first_hit(store, vectors()[5]) == "d5"
    store.close()


@pytest.mark.parametrize(("embedder", "dimension"), [("other", DIMENSION), ("invented", DIMENSION + 1)])
def test_another_embedder_is_refused_and_nothing_is_lost(folder: Path, embedder: str, dimension: int) -> None:
    with pytest.raises(VectorStoreError, match=r"made by 'invented' with 16 .* run `rapport index --rebuild`"):
        open_store(folder, embedder, dimension)
    store = open_store(folder)
    assert store.count() == ROWS
    store.close()


def segment(generation: Path) -> Path:
    [found] = [path for path in generation.iterdir() if path.is_dir()]
    return found


def overwrite(path: Path, at: float, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(int(path.stat().st_size * at))
        file.write(content)


def noise(size: int) -> bytes:
    return np.random.default_rng(3).bytes(size)


def size_of(path: Path) -> int:
    return path.stat().st_size


def truncate(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(size_of(path) // 2)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "index folder gone": lambda g: shutil.rmtree(segment(g)),
    "vectors truncated": lambda g: truncate(segment(g) / "data_level0.bin"),
    "vectors zeroed": lambda g: overwrite(
        segment(g) / "data_level0.bin", 0, bytes(size_of(segment(g) / "data_level0.bin"))
    ),
    "vectors are noise": lambda g: overwrite(
        segment(g) / "data_level0.bin", 0, noise(size_of(segment(g) / "data_level0.bin"))
    ),
    "header is noise": lambda g: overwrite(segment(g) / "header.bin", 0, noise(100)),
    "id table gone": lambda g: (segment(g) / "index_metadata.pickle").unlink(),
    "links are noise": lambda g: overwrite(
        segment(g) / "link_lists.bin", 0, noise(size_of(segment(g) / "link_lists.bin"))
    ),
    "tables truncated": lambda g: truncate(g / "chroma.sqlite3"),
    "tables are noise": lambda g: overwrite(g / "chroma.sqlite3", 0.7, noise(100_000)),
    "tables gone": lambda g: (g / "chroma.sqlite3").unlink(),
}


def damaged(folder: Path, kind: str) -> Path:
    generation = folder / "g1"
    before = chroma_folder.contents(generation)
    DAMAGES[kind](generation)
    assert chroma_folder.contents(generation) != before
    return generation


def assert_set_aside(folder: Path) -> None:
    with pytest.raises(VectorStoreError, match="run `rapport index --rebuild`"):
        open_store(folder)
    assert (folder / "g1.damaged").is_dir()


def test_after_damage_the_index_is_empty_until_it_is_rebuilt(folder: Path) -> None:
    damaged(folder, "vectors zeroed")
    assert_set_aside(folder)
    store = open_store(folder)
    assert store.count() == 0
    store.close()
    with ChromaStore.rebuild(folder, "invented", DIMENSION) as store:
        store.upsert(DOCUMENTS[:3], vectors(n=3))
    assert not (folder / "g1.damaged").exists()
    store = open_store(folder)
    assert store.count() == 3
    store.close()


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_after_a_clean_close_is_found_without_opening(folder: Path, kind: str) -> None:
    damaged(folder, kind)
    assert_set_aside(folder)


@pytest.mark.parametrize("kind", ["a single bit of a vector", "the record itself"])
def test_the_smallest_damage_after_a_clean_close_is_found(folder: Path, kind: str) -> None:
    if kind == "the record itself":
        (folder / "g1.seal.json").write_text("{")
    else:
        path = segment(folder / "g1") / "data_level0.bin"
        with path.open("r+b") as file:
            file.seek(size_of(path) // 2)
            byte = file.read(1)[0]
            file.seek(-1, 1)
            file.write(bytes([byte ^ 1]))
    assert_set_aside(folder)


FOUND_BY_THE_PROBE = [kind for kind in DAMAGES if kind != "links are noise"]


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=[] if kind == "index folder gone" else pytest.mark.long) for kind in FOUND_BY_THE_PROBE],
)
def test_damage_after_a_crash_is_found_by_the_probe(folder: Path, kind: str) -> None:
    (folder / "g1.seal.json").unlink()
    damaged(folder, kind)
    assert_set_aside(folder)


@pytest.mark.long
def test_damage_to_the_links_after_a_crash_is_found_or_harmless(folder: Path) -> None:
    (folder / "g1.seal.json").unlink()
    damaged(folder, "links are noise")
    try:
        store = open_store(folder)
    except VectorStoreError:
        return
    answers = store.search(vectors(), 1)
    assert [hits[0].id for hits in answers] == [document.id for document in DOCUMENTS]
    store.close()


def test_there_is_nothing_wrong_with_no_index(tmp_path: Path) -> None:
    assert probe(tmp_path) is None


def test_a_probe_that_cannot_run_condemns_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "g1.seal.json").unlink()
    monkeypatch.setattr(chroma_folder.sys, "executable", shutil.which("false"))
    with pytest.raises(VectorStoreError, match="could not be checked"):
        open_store(folder)
    assert (folder / "g1").is_dir()


def test_a_vector_that_changed_under_a_running_store_is_noticed(folder: Path) -> None:
    store = open_store(folder)
    assert store.healthy()
    # Written past our own check number, as a damaged file would.
    store._generation._collection.update(ids=store._generation._canaries[:1], embeddings=vectors(seed=9, n=1))
    assert store.count() == ROWS
    assert not store.healthy()
    store.close()
    assert not (folder / "g1.seal.json").exists()


def test_a_rebuild_replaces_everything_and_leaves_no_trace(folder: Path) -> None:
    secret = vectors()[7]
    assert any(secret.tobytes()[:32] in path.read_bytes() for path in folder.rglob("*") if path.is_file())
    with ChromaStore.rebuild(folder, "other", 4) as store:
        assert (folder / "current").read_text() == "g1\n"
        store.upsert([Document("new", "")], np.eye(1, 4, dtype=np.float32))
    assert sorted(path.name for path in folder.iterdir()) == ["current", "g2", "g2.seal.json", "owner.lock"]
    assert not any(secret.tobytes()[:32] in path.read_bytes() for path in folder.rglob("*") if path.is_file())
    store = open_store(folder, "other", 4)
    assert list(store.hashes()) == ["new"]
    store.close()


def test_a_rebuild_that_fails_changes_nothing(folder: Path) -> None:
    def fail() -> None:
        with ChromaStore.rebuild(folder, "other", 4) as store:
            store.upsert([Document("new", "")], np.eye(1, 4, dtype=np.float32))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert sorted(path.name for path in folder.iterdir()) == ["current", "g1", "g1.seal.json", "owner.lock"]
    store = open_store(folder)
    assert store.count() == ROWS
    store.close()


def test_what_a_killed_rebuild_left_is_removed_by_the_next_one(folder: Path) -> None:
    (folder / "g2").mkdir()
    with ChromaStore.rebuild(folder, "invented", DIMENSION) as store:
        store.upsert(DOCUMENTS[:1], vectors(n=1))
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"g3"}


@pytest.mark.parametrize("content", ["", "g99\n", "../../etc\n", "\0"])
def test_a_spoilt_pointer_leads_nowhere_else(folder: Path, content: str) -> None:
    (folder / "current").write_text(content)
    store = open_store(folder)
    assert store.count() == 0
    store.close()


def test_documents_with_one_vector_are_no_damage(tmp_path: Path) -> None:
    store = open_store(tmp_path / "index")
    store.upsert([Document(f"d{at}", "") for at in range(200)], np.repeat(vectors(n=1), 200, axis=0))
    assert store.healthy()
    store.close()


def test_what_was_written_meanwhile_is_not_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path / "index")
    store.upsert(DOCUMENTS[:5], vectors(n=5))
    pages = type(store._generation)._pages

    def interrupted(self, clause, part):
        yield from pages(self, clause, part)
        monkeypatch.undo()
        store.delete([DOCUMENTS[0].id])

    monkeypatch.setattr(type(store._generation), "_pages", interrupted)
    store.search(vectors(n=1), 5)
    assert store._generation._whole is None
    [hits] = store.search(vectors(n=1), 5)
    assert DOCUMENTS[0].id not in {hit.id for hit in hits}
    assert store._generation._whole is not None
    store.close()


def test_equals_come_in_one_order_whatever_was_written_first(tmp_path: Path) -> None:
    found = []
    for name, order in (("one", [3, 1, 2, 0]), ("two", [0, 1, 2, 3])):
        store = open_store(tmp_path / name)
        for at in order:
            store.upsert([Document(f"d{at}", "")], vectors(n=1))
        found.append([[hit.id for hit in hits] for hits in store.search(vectors(n=1), 3)])
        store.close()
    assert found == [[["d0", "d1", "d2"]]] * 2


def test_an_index_that_comes_up_short_is_read_exactly(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chroma_generation, "IN_MEMORY", 0)
    store = open_store(folder)
    complete = store.search(vectors(seed=5, n=2), 20, exclude=["d1", "d2"])
    nearest = type(store._generation)._nearest
    calls: list[int] = []

    def short(self, queries, n, clause):
        calls.append(n)
        return [hits[:7] for hits in nearest(self, queries, n, clause)]

    monkeypatch.setattr(type(store._generation), "_nearest", short)
    again = store.search(vectors(seed=5, n=2), 20, exclude=["d1", "d2"])
    assert calls
    assert [[hit.id for hit in hits] for hits in again] == [[hit.id for hit in hits] for hits in complete]
    monkeypatch.undo()
    store.close()


def test_environment_and_dotenv_do_not_reach_chroma(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("CHROMA_API_IMPL=chromadb.api.fastapi.FastAPI\nANONYMIZED_TELEMETRY=true\n")
    monkeypatch.setenv("CHROMA_API_IMPL", "chromadb.api.fastapi.FastAPI")
    monkeypatch.setenv("CHROMA_OTEL_COLLECTION_ENDPOINT", "http://elsewhere.invalid")
    store = open_store(tmp_path / "index")
    store.upsert(DOCUMENTS[:1], vectors(n=1))
    settings = store._generation._client.get_settings()
    assert (settings.anonymized_telemetry, settings.chroma_otel_collection_endpoint) == (False, "")
    store.close()


def test_the_record_names_every_file(folder: Path) -> None:
    names = json.loads((folder / "g1.seal.json").read_text())
    assert set(names) == {
        path.relative_to(folder / "g1").as_posix() for path in (folder / "g1").rglob("*") if path.is_file()
    }
    assert len(names) == 6
