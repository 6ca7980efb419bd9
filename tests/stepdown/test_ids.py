"""Ids sort by time and are valid UUIDv7; hashes are what they say."""

import hashlib
import time
import uuid

from stepdown.ids import digest, new_id, now, tenant_of


def test_ids_are_version_7_and_sort_by_the_millisecond_of_their_making() -> None:
    first = new_id()
    time.sleep(0.002)
    second = new_id()
    assert uuid.UUID(first).version == 7
    assert uuid.UUID(first).variant == uuid.RFC_4122
    assert first < second


def test_an_id_carries_the_time_of_its_making() -> None:
    before = int(now().timestamp() * 1000)
    milliseconds = uuid.UUID(new_id()).int >> 80
    assert before <= milliseconds <= int(now().timestamp() * 1000) + 1


def test_ids_made_in_one_millisecond_differ() -> None:
    assert len({new_id() for _ in range(10_000)}) == 10_000


def test_digest_is_sha256() -> None:
    assert digest(b"abc") == hashlib.sha256(b"abc").hexdigest()


def test_a_tenant_is_a_hash_that_does_not_show_the_key() -> None:
    assert tenant_of("") == ""
    assert len(tenant_of("sk-secret")) == 16
    assert "secret" not in tenant_of("sk-secret")
