"""``manage.py rotate_sealing_key``: seal every upstream password again with a new key."""

from __future__ import annotations

from typing import Any

from imapped_site import operations
from imapped_site.command_line import OperatorCommand, shell_operator


class Command(OperatorCommand):
    """To change the master key: restart with the new one and the old one as ENCRYPTION_PREVIOUS_MASTER_KEY, run this,
    then remove the old one.
    """

    help = (
        "Seal all upstream passwords with a new key. To change ENCRYPTION_MASTER_KEY: set the new one, put the old "
        "one into ENCRYPTION_PREVIOUS_MASTER_KEY, run this, remove the old one."
    )

    def operate(self, options: dict[str, Any]) -> None:
        """Rotate."""
        count = operations.rotate_sealing_key(by=shell_operator())
        self.stdout.write(f"sealed the passwords of {count} accounts with a new key")
