"""Secrets are taken out of text, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_otel_status.redact import PATTERNS, REPLACEMENT, Redactor
from tests.support.hostile import SECRET_PARTS, SECRETS

KINDS = [pattern.kind for pattern in PATTERNS]
TOKEN = st.from_regex(r"[A-Za-z][A-Za-z0-9]{39,80}", fullmatch=True)
PASSWORD = st.from_regex(r"[A-Za-z][A-Za-z0-9!#$%^*()_+|~.?-]{7,40}", fullmatch=True)

MADE: dict[str, st.SearchStrategy[tuple[str, str]]] = {
    "private_key": TOKEN.map(
        lambda body: (f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----", body)
    ),
    "jwt": TOKEN.map(lambda body: (f"eyJ{body}.eyJ{body}.{body}", body)),
    "aws_key": st.from_regex(r"(AKIA|ASIA)[0-9A-Z]{16}", fullmatch=True).map(
        lambda key: (key, key)
    ),
    "google_key": TOKEN.map(lambda body: (f"AIza{body[:35]}", body[:35])),
    "github_token": TOKEN.map(lambda body: (f"ghp_{body}", body)),
    "slack_token": TOKEN.map(lambda body: (f"xoxb-{body}", body)),
    "prefect_key": TOKEN.map(lambda body: (f"pnu_{body}", body)),
    "api_key": TOKEN.map(lambda body: (f"sk-proj-{body}", body)),
    "authorization": TOKEN.map(lambda body: (f"Authorization: Token {body}", body)),
    "bearer": TOKEN.map(lambda body: (f"Bearer {body}", body)),
    "url_credentials": PASSWORD.map(lambda word: (f"amqp://user:{word}@host/x", f":{word}@")),
    "password": PASSWORD.map(lambda word: (f"password={word}", word)),
}
SECRET = st.one_of(*MADE.values())
# Without letters, so that none of it can be mistaken for a part of the secret.
AROUND = st.text(" \n\t.,;!?<>()[]#*äß🙂…\ud800\x000123456789", max_size=60)
WORDS = st.lists(
    st.sampled_from(
        (
            *("Loaded", "rows", "12,000", "/data/a.csv", "a@b.org", "{model}", "loss: 0.31"),
            *("tokens=512", "tokenizer:", "skew", "task-list", "AKIN", "eyJ", "x:y@z", "epoch=3"),
            *("http://localhost:4318/v1", "https://x.org/a?b=c", "passing=true", "keyboard"),
            *("\ud800", "🙂"),
        )
    )
)


def test_there_is_a_sample_of_every_kind() -> None:
    assert sorted(KINDS) == sorted(SECRETS) == sorted(MADE)


@pytest.mark.parametrize("kind", KINDS)
def test_a_secret_is_replaced_counted_and_gone(kind: str) -> None:
    kinds: list[str] = []
    text = Redactor(on_secret=kinds.append)(f"before {SECRETS[kind]} after")
    assert SECRET_PARTS[kind] not in text
    assert text.startswith("before ")
    assert text.endswith(" after")
    assert REPLACEMENT in text
    assert kinds == [kind]


@settings(deadline=None, max_examples=100)
@given(before=AROUND, planted=SECRET, after=AROUND)
def test_no_secret_survives_whatever_stands_around_it(
    before: str, planted: tuple[str, str], after: str
) -> None:
    text, part = planted
    assert part not in Redactor()(f"{before} {text} {after}")


@settings(deadline=None)
@given(planted=st.lists(SECRET, min_size=2, max_size=6))
def test_none_of_several_secrets_survives(planted: list[tuple[str, str]]) -> None:
    text = Redactor()("\n".join(secret for secret, _ in planted))
    assert [part for _, part in planted if part in text] == []


@settings(deadline=None)
@given(planted=SECRET)
def test_a_text_without_its_secrets_is_left_alone(planted: tuple[str, str]) -> None:
    once = Redactor()(f"x {planted[0]} y")
    assert Redactor()(once) == once


@settings(deadline=None)
@given(words=WORDS)
def test_text_without_secrets_is_unchanged(words: list[str]) -> None:
    kinds: list[str] = []
    text = " ".join(words)
    assert Redactor(on_secret=kinds.append)(text) == text
    assert kinds == []


@pytest.mark.parametrize(
    "text",
    [
        "Computed basic statistics of 12,000 rows",
        "Basic preprocessing done",
        "joined on pk_customer_order_line",
        "installed sk-learn-extensions",
        "next_token_accuracy=0.9312",
        "token_count: 51200",
    ],
)
def test_words_that_only_sound_like_a_secret_are_unchanged(text: str) -> None:
    assert Redactor()(text) == text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("password=hunter22&user=eve", "password=[redacted]&user=eve"),
        ('{"password": "two words", "a": 1}', '{"password": [redacted], "a": 1}'),
        ("{'api_key': 'abc def'}", "{'api_key': [redacted]}"),
        ("DB_PASSWORD: hunter22", "DB_PASSWORD: [redacted]"),
        ("aws_secret_access_key = wJalrXUtnFEMI", "aws_secret_access_key = [redacted]"),
        ("secret => abcdef", "secret => [redacted]"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic [redacted]"),
        ("redis://:hunter22@cache:6379", "redis://[redacted]@cache:6379"),
        ("https://eve:pa$$word@x.org/a", "https://[redacted]@x.org/a"),
        ("key AKIAIOSFODNN7EXAMPLE.", "key [redacted]."),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blb", "[redacted]"),
    ],
)
def test_only_the_secret_is_replaced(text: str, clean: str) -> None:
    assert Redactor()(text) == clean


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ('{\\"password\\": \\"hunter22\\"}', "hunter22"),
        (
            "-----BEGIN PGP PRIVATE KEY BLOCK-----\nlQOYBF\n-----END PGP PRIVATE KEY BLOCK-----",
            "lQOY",
        ),
        ("Authorization: Token 9944b09199c62bcf", "9944b09199c62bcf"),
        ("https://eve:p@ssw0rd@x.org/a", "ssw0rd"),
    ],
    ids=["JSON within JSON", "PGP", "token header", "at sign"],
)
def test_a_secret_in_an_unusual_form_does_not_survive(text: str, secret: str) -> None:
    assert secret not in Redactor()(text)


@pytest.mark.parametrize(
    "name",
    [
        *("password", "db.password", "DB_PASSWD", "pwd", "client_secret", "token", "x.access_key"),
        *("api_key", "apikey", "private_key", "credentials", "credential", "Authorization"),
        *("http.request.header.x-api-key", "access-key", "private-key"),
    ],
)
def test_an_attribute_with_a_secret_name_never_shows_its_value(name: str) -> None:
    kinds: list[str] = []
    assert Redactor(on_secret=kinds.append).named(name, "hunter22") == REPLACEMENT
    assert kinds == ["named"]


@pytest.mark.parametrize("name", ["tokens", "model", "password_length", "secretary", "keys", ""])
def test_an_attribute_with_another_name_shows_its_value(name: str) -> None:
    assert Redactor().named(name, "512") == "512"


def test_the_value_of_another_attribute_is_searched_too() -> None:
    assert Redactor().named("url", "ftp://eve:hunter22@host") == "ftp://[redacted]@host"


def test_patterns_of_the_user_apply_even_without_a_hint() -> None:
    kinds: list[str] = []
    redact = Redactor(extra=(r"EMP-\d+", r"x{3}"), on_secret=kinds.append)
    assert redact("EMP-17, EMP-18 and xxx") == "[redacted], [redacted] and [redacted]"
    assert kinds == ["custom", "custom", "custom"]


def test_every_secret_found_is_counted() -> None:
    kinds: list[str] = []
    Redactor(on_secret=kinds.append)("pwd=hunter22 pwd=hunter23 AKIAIOSFODNN7EXAMPLE")
    assert sorted(kinds) == ["aws_key", "password", "password"]
