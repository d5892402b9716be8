"""Typed reading of settings that collects every fault instead of stopping at the first."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from imapped_site.settings.sources import BASE_DIR, EMBEDDED_ORIGIN, Raw, Source

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_BIND = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s:\[\]]+)):(?P<port>\d{1,5})")

Bind = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Shown:
    """One setting as ``manage.py show_config`` prints it; secrets are masked already."""

    name: str
    value: str
    origin: str


class Reader:
    """Reads settings from *sources* (earlier ones win). Call ``finish`` last: it raises with all faults at once."""

    def __init__(
        self, sources: Sequence[Source], *, faults: Sequence[str] = (), known_only: Source | None = None
    ) -> None:
        self._sources = sources
        self._known_only = known_only
        self._faults = list(faults)
        self._shown: dict[str, Shown] = {}
        self.warnings: list[str] = []

    def fault(self, name: str, message: str) -> None:
        """Record that setting *name* is wrong; *message* says what is expected."""
        self._faults.append(f"{name}: {message}")

    def raw(self, name: str) -> Raw | None:
        """The text of *name* from the first source that has it; an empty text counts as not set."""
        for source in self._sources:
            text = source.get(name, "").strip()
            if text:
                return Raw(text, source.origin)
        return None

    def is_unset(self, name: str) -> bool:
        """True if *name* is set nowhere, or only by the embedded servers that run."""
        raw = self.raw(name)
        return raw is None or raw.origin == EMBEDDED_ORIGIN

    def text(self, name: str, default: str = "", *, choices: Collection[str] = ()) -> str:
        """Any text, or one of *choices*."""
        raw = self._take(name, default)
        if raw is None:
            return default
        if choices and raw not in choices:
            self.fault(name, f"{raw!r} is not one of {', '.join(sorted(choices))}")
            return default
        return raw

    def secret(self, name: str) -> str:
        """A text that is never shown."""
        raw = self.raw(name)
        self._show(name, "(set, hidden)" if raw else "", raw.origin if raw else "default")
        return raw.text if raw else ""

    def integer(self, name: str, default: int, *, minimum: int, maximum: int | None = None) -> int:
        """A whole number within its bounds. There is no "0 means without limit" anywhere."""
        raw = self._take(name, str(default))
        if raw is None:
            return default
        if not re.fullmatch(r"-?\d{1,18}", raw):
            self.fault(name, f"{raw!r} is not a whole number")
            return default
        value = int(raw)
        if value < minimum or (maximum is not None and value > maximum):
            limits = f"at least {minimum}" if maximum is None else f"between {minimum} and {maximum}"
            self.fault(name, f"must be {limits}, not {value}")
            return default
        return value

    def optional_integer(self, name: str, *, minimum: int, maximum: int | None = None) -> int | None:
        """A whole number within its bounds, or None where the setting is not made."""
        if self.raw(name) is None:
            self._show(name, "", "default")
            return None
        return self.integer(name, minimum, minimum=minimum, maximum=maximum)

    def boolean(self, name: str, *, default: bool) -> bool:
        """true/false, yes/no, on/off, 1/0."""
        raw = self._take(name, "true" if default else "false")
        if raw is None:
            return default
        if raw.lower() in _TRUE:
            return True
        if raw.lower() not in _FALSE:
            self.fault(name, f"{raw!r} is neither true nor false")
        return False

    def path(self, name: str, default: Path | None = None) -> Path | None:
        """A path; relative ones are meant from the project's root."""
        raw = self._take(name, str(default or ""))
        return default if raw is None else (BASE_DIR / Path(raw).expanduser()).absolute()

    def bind(self, name: str, default: str) -> Bind | None:
        """``host:port`` to listen on; ``off`` switches the listener off."""
        raw = self._take(name, default) or default
        if raw.lower() == "off" or not raw:
            return None
        match = _BIND.fullmatch(raw)
        if match is None or int(match["port"]) > 65535:
            self.fault(name, f"{raw!r} is not HOST:PORT (for example 127.0.0.1:1143, [::1]:1143) and not off")
            return None
        return match["v6"] or match["host"], int(match["port"])

    def url(self, name: str, default: str, *, schemes: Collection[str], hide: bool = False) -> str:
        """A URL with one of *schemes*; with *hide* its user information is masked when shown."""
        raw = self.raw(name)
        text = raw.text if raw else default
        try:
            parts = urlsplit(text)
            parts.port  # noqa: B018 - raises ValueError for a bad port
        except ValueError:
            self.fault(name, "is not a URL")
            text, parts = default, urlsplit(default)
        if text and parts.scheme not in schemes:
            self.fault(name, f"must be a URL that starts with {' or '.join(f'{s}://' for s in sorted(schemes))}")
            text = default
        shown = re.sub(r"(?<=//)[^/?#]*@", "***@", text) if hide else text
        self._show(name, shown, raw.origin if raw else "default")
        return text

    def retired(self, name: str, reason: str) -> None:
        """Accept a setting that has lost its meaning, with a warning that says so."""
        raw = self.raw(name)
        if raw is not None:
            self.warnings.append(f"{name} (from {raw.origin}) does nothing any more: {reason}")
            self._show(name, raw.text, f"{raw.origin}, without effect")

    def all_or_none(self, values: dict[str, str], *, group: str) -> bool:
        """True if all *values* are set, False if none is; half a group is a fault naming what is missing."""
        missing = [name for name, value in values.items() if not value]
        if missing and len(missing) < len(values):
            present = ", ".join(name for name in values if name not in missing)
            self.fault(", ".join(missing), f"missing: {present} is set, and {group} needs all of them or none")
        return not missing

    def shown(self) -> tuple[Shown, ...]:
        """Every setting that was read, in reading order."""
        return tuple(self._shown.values())

    def finish(self) -> None:
        """Raise ImproperlyConfigured with every fault found, if there is one."""
        for name in self._known_only or ():
            if name not in self._shown:
                self.fault(name, f"unknown setting in {self._known_only.origin}" if self._known_only else "")
        if self._faults:
            count = len(self._faults)
            lines = "\n".join(f"  - {fault}" for fault in self._faults)
            raise ImproperlyConfigured(f"{count} setting{'s are' if count > 1 else ' is'} wrong:\n{lines}")

    def _take(self, name: str, default: str) -> str | None:
        raw = self.raw(name)
        self._show(name, raw.text if raw else default, raw.origin if raw else "default")
        return raw.text if raw else None

    def _show(self, name: str, value: str, origin: str) -> None:
        self._shown[name] = Shown(name, value, origin)
