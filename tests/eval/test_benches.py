"""The benchmarks of single parts measure what they say; how fast is nothing that a test can know."""

from __future__ import annotations

import json

from eval import bench_recommend, bench_vectorstore
from eval.bench_vectorstore import Size
from eval.movielens import FOLDER
from tests.eval.test_board_a import walks, write
from vectorstore import chroma_generation


def test_the_index_is_compared_with_exact_search_at_every_moment_and_with_every_filter():
    before = chroma_generation.IN_MEMORY
    found = bench_vectorstore.measure(Size(items=400, texts=3, queries=4))
    assert before == chroma_generation.IN_MEMORY
    assert [one["recall"] for one in found["searches"]] == [1.0] * 9
    assert all(one["healthy"] for one in found["searches"])
    assert len({(one["moment"], one["filter"]) for one in found["searches"]}) == 9
    (speed,) = found["texts a second"].values()
    assert speed > 0
    assert "| after deleting half | one in a hundred | 1.0 |" in bench_vectorstore.markdown(found)


def test_a_recommendation_is_timed_twice_with_its_parts(monkeypatch, tmp_path):
    monkeypatch.setenv("RAPPORT_EMBEDDER", "hashing")
    write(tmp_path / FOLDER, walks())
    found = bench_recommend.measure(tmp_path, 5)
    json.dumps(found)
    assert (found["items"], found["people"]) == (30, 5)
    assert list(found["rounds"]) == ["first", "again"]
    for one in found["rounds"].values():
        assert 0 < one["wall"]["p50"] <= one["wall"]["p95"]
        assert set(one["parts"]) == {"retrieve", "vectors"}
    assert bench_recommend.markdown(found).count("| again |") == 2
    assert [bench_recommend.verdict({"wall": {"p95": ms}}) for ms in (30.0, 44.2)] == ["met", "missed by 14.2"]
