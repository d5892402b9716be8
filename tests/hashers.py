"""Password hashing that costs tests next to nothing, and that every process can still verify."""

from __future__ import annotations

from django.contrib.auth.hashers import Argon2PasswordHasher


class QuickArgon2PasswordHasher(Argon2PasswordHasher):
    """Argon2 with the least work that it allows; the parameters stand in each hash."""

    time_cost = 1
    memory_cost = 8
    parallelism = 1
