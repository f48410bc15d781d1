"""What a client typed becomes the one spelling of an identifier, or nothing."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.normalize import CACHE_MAX, VALUE_MAX, Normalizer, text_of
from identity.rules import Rules

plain = Normalizer(Rules(external_ids=("crm_id",)))


@pytest.mark.parametrize(
    ("type_name", "raw", "value"),
    [
        ("user_id", "  u1\t", "u1"),
        ("user_id", "u\u200b1\ufeff", "u1"),
        ("user_id", "Asha", "Asha"),
        ("user_id", "cafe\u0301", "café"),
        ("user_id", 42, "42"),
        ("user_id", 1.0, "1"),
        ("user_id", 1.5, "1.5"),
        ("email", " Asha@Example.COM ", "asha@example.com"),
        ("phone", "098765 43210", "+919876543210"),
        ("phone", 919876543210, "+919876543210"),
        ("phone", 9876543210.0, "+919876543210"),
        ("phone", "+1 (202) 555-0146", "+12025550146"),
    ],
)
def test_one_spelling(type_name: str, raw: Any, value: str) -> None:
    assert plain.normalize(type_name, raw) == (value, "")


@pytest.mark.parametrize(
    "raw",
    [None, "", "  ", "\u200b", True, False, float("nan"), float("inf"), [], ["a"], {}, 10**400],
)
def test_what_is_no_text_is_absent(raw: Any) -> None:
    assert plain.normalize("user_id", raw) == ("", "")


@pytest.mark.parametrize(
    ("type_name", "raw", "why"),
    [
        ("user_id", "NULL", "blocked"),
        ("user_id", "undefined", "blocked"),
        ("user_id", "[object Object]", "blocked"),
        ("user_id", "000-000", "blocked"),
        ("user_id", "-1", "blocked"),
        ("user_id", 0, "blocked"),
        ("user_id", -0.0, "blocked"),
        ("anonymous_id", "00000000-0000-0000-0000-000000000000", "blocked"),
        ("user_id", "{{user.id}}", "blocked"),
        ("email", "Test@Test.com", "blocked"),
        ("email", "asha", "not an e-mail address"),
        ("email", "a b@example.com", "not an e-mail address"),
        ("phone", "9999999999", "blocked"),
        ("phone", "+1-111-111-1111", "not a phone number"),
        ("phone", "12345", "not a phone number"),
        ("phone", "call me", "not a phone number"),
        ("phone", "022 2345 6789 ext 5", "an extension"),
        ("user_id", "x" * (VALUE_MAX + 1), "too long"),
    ],
)
def test_what_names_nobody_says_why(type_name: str, raw: Any, why: str) -> None:
    assert plain.normalize(type_name, raw) == ("", why)


def test_the_longest_value_is_taken() -> None:
    assert plain.value("user_id", "x" * VALUE_MAX) == "x" * VALUE_MAX


def test_a_workspace_blocks_its_own_values_for_one_type_or_for_all() -> None:
    own = Normalizer(
        Rules(
            blocked={"email": ("Cashier@Store.com",), "*": ("Shop",)},
            blocked_patterns={"user_id": (r"tmp-\d+",)},
        )
    )
    assert own.normalize("email", "cashier@store.com") == ("", "blocked")
    assert own.normalize("user_id", "cashier@store.com") == ("cashier@store.com", "")
    assert own.normalize("user_id", "SHOP") == ("", "blocked")
    assert own.normalize("user_id", "TMP-12") == ("", "blocked")
    assert own.normalize("user_id", "x-tmp-12") == ("x-tmp-12", "")
    assert own.normalize("user_id", "null") == ("", "blocked")


def test_a_blocked_phone_is_blocked_however_it_is_typed() -> None:
    own = Normalizer(Rules(blocked={"phone": ("+919876543210",)}))
    assert own.normalize("phone", "098765 43210") == ("", "blocked")


def test_a_phone_without_a_country_is_of_the_workspaces_region() -> None:
    assert Normalizer(Rules(default_region="US")).value("phone", "202-555-0146") == "+12025550146"


def test_long_values_are_not_remembered() -> None:
    some = Normalizer(Rules())
    for n in range(5):
        some.normalize("email", "x" * 100_000 + str(n))
    assert sum(len(text) for _, text in some._cache) < VALUE_MAX


def test_the_cache_is_bounded() -> None:
    some = Normalizer(Rules())
    for n in range(CACHE_MAX + 10):
        some.normalize("user_id", f"u{n}")
    assert len(some._cache) <= CACHE_MAX


@given(st.sampled_from(["user_id", "email", "phone", "crm_id", "anonymous_id"]), st.text())
def test_normalizing_again_changes_nothing(type_name: str, raw: str) -> None:
    once = plain.value(type_name, raw)
    assert not once or plain.value(type_name, once) == once


@given(st.from_regex(r"\+?[0-9 ()\-]{5,16}", fullmatch=True))
def test_a_phone_that_is_normalized_stays(raw: str) -> None:
    once = plain.value("phone", raw)
    assert not once or plain.value("phone", once) == once


@given(st.text(), st.sampled_from(["\u200b", "\ufeff", "\x00", "\u2060", " ", "\t"]))
def test_what_nobody_sees_makes_no_other_identifier(raw: str, unseen: str) -> None:
    assert text_of(unseen + raw + unseen) == text_of(raw)


@pytest.mark.parametrize(
    "wrong",
    [
        {"external_ids": ("device_id",)},
        {"external_ids": ("crm_id", "crm_id")},
        {"external_ids": ("",)},
        {"person_priority": ("anonymous_id", "user_id")},
        {"device_priority": ("user_id",)},
        {"blocked_patterns": {"email": ("(",)}},
    ],
)
def test_rules_that_could_not_be_applied_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Rules(**wrong)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, Rules)
