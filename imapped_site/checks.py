"""System checks of the composition root."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Warning, register

from imapped_site.settings.current import read


@register()
def settings_without_effect(**_: Any) -> list[CheckMessage]:
    """Tell of every setting that is accepted for old times' sake only."""
    return [Warning(text, id="imapped_site.W001") for text in read.warnings]
