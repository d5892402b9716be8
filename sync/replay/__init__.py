"""Local changes on their way upstream, in order and exactly once (design section 5).

``plan`` (pure) decides what can be done in which commands; the modules beside it do it, one for each family of
changes; ``run`` drains the queue of one account under its REPLAY lease.
"""

from __future__ import annotations
