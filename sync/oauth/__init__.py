"""OAuth 2.0 towards upstreams (RFC 6749): consent, device codes, and access tokens that are refreshed in time.

Knows providers as data, keeps their tokens through ``mailcache.services.oauth_grants``, and gives the rest of ``sync``
one thing: an access token for an account. ``http`` alone talks to authorization servers.
"""

from __future__ import annotations
