from __future__ import annotations

import re

import pytest

from agent.errors import UsageError
from agent.history.keys import Keys


def test_a_key_opens_until_it_is_revoked(store):
    keys = Keys(store)
    assert not keys.any()
    key, secret = keys.add("the shop", ["write", "read"])
    assert key.scopes == ("read", "write")
    assert keys.find(secret) == key
    assert keys.revoke(key.id)
    assert keys.find(secret) is None
    assert not keys.revoke(key.id)
    assert keys.any(), "a service that had keys stays closed"


def test_only_the_hash_is_kept(store, tmp_path):
    _, secret = Keys(store).add("k", ["admin"])
    store.close()
    part = secret.rpartition("_")[2].encode() if secret.count("_") == 2 else secret.split("_", 2)[2].encode()
    assert len(part) >= 40
    assert not any(part in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


@pytest.mark.parametrize(
    "presented",
    ["", "rapport", "rapport_", "rapport__", "rapport_x_y", "other_{id}_{rest}", "rapport_{id}_",
     "rapport_{id}_{rest}x", "rapport_{id}_{short}", "rapport_{id}_é", "x" * 100_000, "rapport_' OR 1=1 --_{rest}"],
)  # fmt: skip
def test_what_is_no_key_opens_nothing(store, presented):
    key, secret = Keys(store).add("k", ["admin"])
    rest = secret.split("_", 2)[2]
    assert Keys(store).find(presented.format(id=key.id, rest=rest, short=rest[:-1])) is None


@pytest.mark.parametrize(
    ("name", "scopes", "user"),
    [("", ["read"], ""), ("x" * 101, ["read"], ""), ("a\u202eb", ["read"], ""), ("k", [], ""), ("k", ["read"], "mara"),
     ("k", ["root"], ""), ("k", [], "\u200b")],
)  # fmt: skip
def test_what_makes_no_key(store, name, scopes, user):
    with pytest.raises(UsageError):
        Keys(store).add(name, scopes, user)
    assert not Keys(store).any()


def test_a_persons_key_goes_with_them_and_is_exported_without_its_hash(store):
    key, secret = Keys(store).add("phone", user="mara")
    other, _ = Keys(store).add("shop", ["read"])
    (row,) = store.export_user("mara")["api_keys"]
    assert row["id"] == key.id
    assert not re.search("[0-9a-f]{64}", str(row))
    store.erase_user("mara")
    assert Keys(store).find(secret) is None
    assert Keys(store).every() == [other]


def test_who_showed_a_key_is_known_until_it_is_revoked(store):
    keys = Keys(store)
    key, _ = keys.add("shop", ["read"])
    assert keys.still(key.id) == key
    assert keys.still("") is None
    keys.revoke(key.id)
    assert keys.still(key.id) is None
