#!/usr/bin/env python
"""Every command of imapped: ``python manage.py help`` lists them."""

from __future__ import annotations

import os
import sys


def take_config_option(arguments: list[str]) -> list[str]:
    """Remove ``--config PATH`` from *arguments* and put it where the settings look for it."""
    rest: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--config":
            os.environ["APP_CONFIG_PATH"] = next(remaining, "")
        elif argument.startswith("--config="):
            os.environ["APP_CONFIG_PATH"] = argument.partition("=")[2]
        elif argument == "--":
            return [*rest, argument, *remaining]
        else:
            rest.append(argument)
    return rest


def main() -> None:
    """Run the command named on the command line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "imapped_site.settings")
    from django.conf import settings
    from django.core.management import execute_from_command_line
    from django.db import OperationalError

    arguments = take_config_option(sys.argv)
    try:
        execute_from_command_line(arguments)
    except OperationalError as error:
        if not settings.EMBEDDED_POSTGRES:
            raise
        sys.exit(f"{error}\nThe embedded PostgreSQL does not run: `make run` starts it. DATABASE_URL names another.")


if __name__ == "__main__":
    main()
