"""Which arm of a rollout answers a request: a sticky split by a salted hash of the request's key.

Keys lie on a line from 0 to 1. The canary takes its share from the left end, the baseline from the right, and the rest
is stable; so a ramp moves only the keys by which a share grows, and a key that stays in its arm stays there for good.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from enum import IntEnum

from ml.core.errors import UsageError

_SPACE = 1 << 64


class Arm(IntEnum):
    """Who answers: the champion, the champion loaded afresh (so that cold caches cancel), or the candidate."""

    STABLE = 0
    BASELINE = 1
    CANARY = 2


ARMS = len(Arm)


@dataclass(frozen=True)
class Shares:
    """Shares of the keys, 0 to 1, of the two small arms; what is left is stable.

    Raises:
        UsageError: a share is not within 0 to 1, or both are above 1 together.
    """

    baseline: float = 0.0
    canary: float = 0.0

    def __post_init__(self) -> None:
        both = (self.baseline, self.canary)
        if not all(math.isfinite(share) and 0 <= share <= 1 for share in both) or sum(both) > 1:
            raise UsageError(
                f"shares of {self.baseline} and {self.canary} cannot be given",
                left="the split is as it was",
                next="give shares of 0 to 1 that are at most 1 together",
            )


ALL_STABLE = Shares()
"""No rollout is under way."""


SEEN_BY_A_CANARY: float = 0.15
"""Share of the requests that the candidate of a canary sees at least: those of its arm, and others that it is only tried on."""


def beside(canary: float) -> float:
    """The share of requests that a canary is tried on beside its own share, off the answer.

    An error of the model is the same error whether it was going to be told or not: so a small arm is judged as soon as one of
    three times its size would be, at no more callers' risk.

    >>> [round(beside(share), 2) for share in (0.0, 0.05, 0.25)]
    [0.0, 0.1, 0.0]
    """
    return max(0.0, SEEN_BY_A_CANARY - canary) if canary else 0.0


class Split:
    """The arm of each key under one salt; immutable, about 0.6 microseconds a key.

    Args:
        salt: any text, one for each rollout, so that no key is in every canary.
        shares: of the small arms.
    """

    __slots__ = ("_base", "_baseline_from", "_canary_to", "salt", "shares")

    def __init__(self, salt: str, shares: Shares = ALL_STABLE) -> None:
        self.salt, self.shares = salt, shares
        # The salt goes in as BLAKE2's own key: no salt with a key can equal another salt with another key.
        secret = hashlib.sha256(salt.encode()).digest()
        self._base = hashlib.blake2b(digest_size=8, key=secret)
        self._canary_to = round(shares.canary * _SPACE)
        self._baseline_from = _SPACE - round(shares.baseline * _SPACE)

    def arm(self, key: str) -> int:
        """The `Arm` of a key, the same in every process for the same salt and shares."""
        place = self.place(key)
        if place < self._canary_to:
            return 2
        return 1 if place >= self._baseline_from else 0

    def place(self, key: str) -> int:
        """Where a key lies, 0 to 2**64 - 1."""
        hasher = self._base.copy()
        hasher.update(key.encode(errors="surrogatepass"))
        return int.from_bytes(hasher.digest(), "little")
