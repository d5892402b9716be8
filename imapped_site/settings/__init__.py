"""Settings of every imapped process, read from the environment, ``.env`` or a TOML file.

One module per concern; ``current.read`` collects what is wrong, and the last line stops the start with the
complete list.
"""

from __future__ import annotations

from imapped_site.settings.core import *  # noqa: F403
from imapped_site.settings.current import read
from imapped_site.settings.imap import *  # noqa: F403
from imapped_site.settings.logs import *  # noqa: F403
from imapped_site.settings.oauth import *  # noqa: F403
from imapped_site.settings.stores import *  # noqa: F403
from imapped_site.settings.tasks import *  # noqa: F403

read.finish()
