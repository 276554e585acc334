"""The methods that a report may show, as data: their order, and which of them draws circuits at random."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Methods:
    """What a report knows about methods: decides their colours in figures, and which compete in tables."""

    names: tuple[str, ...]
    """All methods, shown in this report or not; a method's index determines its colour."""
    baseline: str = ""
    """The method that draws circuits at random: shown in grey, does not compete."""

    def is_random(self, label: str) -> bool:
        """Whether a label is that of random circuits, with any parameters."""
        return bool(self.baseline) and label.partition(" (")[0] == self.baseline


def label_of(method: str, params: str) -> str:
    """A method with its parameters: `eap_ig (steps=5)`."""
    return f"{method} ({params})" if params else method


def label_of_typed(text: str) -> str:
    """The label in tables of a method as typed by the user, `eap_ig:steps=5`."""
    method, _, params = text.partition(":")
    return label_of(method, params)
