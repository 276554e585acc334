"""A configuration file: YAML without the features that let a short text expand or make a plain one
ambiguous."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from bench.errors import DamagedFile, UsageError
from bench.files import read_text

LARGEST = 2**16
"""Most bytes of such a file."""


DEEPEST = 8
"""Deepest nesting of lists and mappings."""


class _Loader(yaml.SafeLoader):
    """Refuses aliases, which can expand without end; tags; deep nesting; and duplicate keys."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise yaml.YAMLError("it has anchors or aliases: write the values out")
        if getattr(event, "tag", None) is not None:
            raise yaml.YAMLError("it has tags: leave them out")
        if self.depth == DEEPEST:
            raise yaml.YAMLError("it is nested too deeply")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        if twice := [key for key, count in keys.items() if count > 1]:
            raise yaml.YAMLError(f"it sets '{twice[0]}' more than once")
        return super().construct_mapping(node, deep)


def mapping_of(path: Path) -> dict[str, Any]:
    """What a YAML file of 'key: value' lines says.

    Raises:
        UsageError: the file does not exist, is not a regular one, is too large, or does not hold such lines.
    """
    try:
        values = yaml.load(read_text(path, LARGEST), _Loader)
    except DamagedFile as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"cannot read the configuration {path}: {error.strerror}") from error
    except (yaml.YAMLError, ValueError) as error:  # the latter: an invalid date or number
        reason = " ".join(str(error).split())
        raise UsageError(f"the configuration {path} cannot be read as YAML: {reason}") from error
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise UsageError(f"the configuration {path} is not a list of 'key: value' lines")
    return values
