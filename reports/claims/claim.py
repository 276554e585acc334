"""One claim of a paper and what became of it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """A claim, where it was made, what became of it here, and by which figures."""

    name: str
    text: str
    source: str
    verdict: str
    figures: str
