"""Typed reading of settings: what is accepted, and that every fault is told at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from imapped_site.settings.reader import Reader
from imapped_site.settings.sources import EMBEDDED_ORIGIN, Source, read_env_file, read_toml_file


def reader(**values: str) -> Reader:
    return Reader([Source("environment", values)])


def faults(read: Reader) -> str:
    with pytest.raises(ImproperlyConfigured) as caught:
        read.finish()
    return str(caught.value)


def test_the_first_source_wins_and_empty_counts_as_not_set() -> None:
    read = Reader([Source("environment", {"A": "", "B": "here"}), Source(".env", {"A": "there", "B": "too"})])
    assert (read.text("A"), read.text("B"), read.text("C", "default")) == ("there", "here", "default")
    assert [(shown.name, shown.origin) for shown in read.shown()] == [
        ("A", ".env"),
        ("B", "environment"),
        ("C", "default"),
    ]


def test_all_faults_are_told_in_one_message() -> None:
    read = reader(COUNT="many", SECONDS="0", SWITCH="perhaps", BIND="1143", URL="ftp://x", KIND="odd")
    read.integer("COUNT", 1, minimum=0)
    read.integer("SECONDS", 60, minimum=1)
    read.boolean("SWITCH", default=True)
    read.bind("BIND", "127.0.0.1:1")
    read.url("URL", "", schemes=("https",))
    read.text("KIND", "plain", choices=("plain", "fancy"))
    message = faults(read)
    assert message.startswith("6 settings are wrong:")
    for expected in (
        "COUNT: 'many' is not a whole number",
        "SECONDS: must be at least 1, not 0",
        "SWITCH: 'perhaps' is neither true nor false",
        "BIND: '1143' is not HOST:PORT",
        "URL: must be a URL that starts with https://",
        "KIND: 'odd' is not one of fancy, plain",
    ):
        assert expected in message


def test_a_limit_that_is_not_set_is_none_and_not_zero() -> None:
    read = reader(SOME="20", NONE="0")
    assert (read.optional_integer("SOME", minimum=2), read.optional_integer("OTHER", minimum=2)) == (20, None)
    read.optional_integer("NONE", minimum=2)
    assert "NONE: must be at least 2, not 0" in faults(read)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:1143", ("127.0.0.1", 1143)),
        ("mail.example.test:0", ("mail.example.test", 0)),
        ("[::1]:993", ("::1", 993)),
        ("off", None),
        ("OFF", None),
    ],
)
def test_bind(text: str, expected: tuple[str, int] | None) -> None:
    read = reader(BIND=text)
    assert read.bind("BIND", "127.0.0.1:1") == expected
    read.finish()


@pytest.mark.parametrize("text", ["::1:993", "host:", ":1143", "host:65536", "host:1:2", "host:-1"])
def test_bad_bind(text: str) -> None:
    read = reader(BIND=text)
    assert read.bind("BIND", "127.0.0.1:1") is None
    assert "BIND" in faults(read)


def test_half_a_group_names_what_is_missing() -> None:
    read = reader()
    assert not read.all_or_none({"R2_BUCKET": "mail", "R2_ENDPOINT": "", "R2_KEY": ""}, group="S3 storage")
    assert "R2_ENDPOINT, R2_KEY: missing: R2_BUCKET is set" in faults(read)
    assert reader().all_or_none({"A": "1", "B": "2"}, group="x")
    assert not reader().all_or_none({"A": "", "B": ""}, group="x")


def test_secrets_are_never_shown() -> None:
    read = reader(KEY="hush", URL="postgresql://me:hush@db/mail")
    read.secret("KEY")
    read.url("URL", "", schemes=("postgresql",), hide=True)
    assert "hush" not in repr(read.shown())
    assert "hush" not in repr(read.raw("KEY"))


def test_a_fault_in_a_secret_url_does_not_print_it() -> None:
    read = reader(URL="mysql://me:hush@db/mail")
    read.url("URL", "", schemes=("postgresql",), hide=True)
    assert "hush" not in faults(read)


def test_unknown_keys_in_the_file_are_faults(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('known = "yes"\nnumber = 7\nswitch = true\nreddis_url = "redis://x"\n', encoding="utf-8")
    problems: list[str] = []
    toml = read_toml_file(path, problems)
    read = Reader([toml], faults=problems, known_only=toml)
    assert (read.text("KNOWN"), read.integer("NUMBER", 1, minimum=0)) == ("yes", 7)
    assert read.boolean("SWITCH", default=False)
    message = faults(read)
    assert "REDDIS_URL: unknown setting in file" in message
    assert message.startswith("1 setting is wrong")


def test_unreadable_files_are_faults(tmp_path: Path) -> None:
    problems: list[str] = []
    read_toml_file(tmp_path / "missing.toml", problems)
    (tmp_path / "broken.toml").write_text("a = = 1", encoding="utf-8")
    read_toml_file(tmp_path / "broken.toml", problems)
    (tmp_path / "table.toml").write_text("[imap]\nport = 1", encoding="utf-8")
    read_toml_file(tmp_path / "table.toml", problems)
    assert len(problems) == 3
    assert "dict" in problems[2]


def test_env_file(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("# comment\nA=1\nexport B='two words'\nC=\"x\"\n", encoding="utf-8")
    assert dict(read_env_file(path)) == {"A": "1", "B": "two words", "C": "x"}
    assert dict(read_env_file(tmp_path / "missing")) == {}


def test_what_embedded_servers_announce_is_not_a_setting() -> None:
    read = Reader([Source("environment", {"B": "x"}), Source(EMBEDDED_ORIGIN, {"A": "x", "B": "y"})])
    assert read.is_unset("A")
    assert not read.is_unset("B")
    assert read.is_unset("C")


def test_a_retired_setting_warns() -> None:
    read = reader(SEARCH_INDEX_PATH="/x")
    read.retired("SEARCH_INDEX_PATH", "the text index lives in PostgreSQL")
    read.finish()
    assert read.warnings == [
        "SEARCH_INDEX_PATH (from environment) does nothing any more: the text index lives in PostgreSQL"
    ]
