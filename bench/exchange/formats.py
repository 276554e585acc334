"""Formats of circuits and scores: how a file is recognised, and the name under which each is written."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.engine.graph import EdgeGraph
from bench.engine.regrouped import DisagreeingGroup
from bench.errors import DamagedFile, UsageError
from bench.exchange import edge_list, mib_json, mib_pt, ours
from bench.exchange.contents import Contents
from bench.exchange.published import PREFIX, published
from bench.files import regular
from bench.names import unknown

BEGINNING = 4096
"""Bytes of a file by which it is recognised."""


@dataclass(frozen=True)
class Format:
    """A format that can be written."""

    ending: str
    description: str
    write: Callable[[Path, Contents], None]
    nodes: bool = False
    """Whether it holds scores of nodes."""


FORMATS = {
    "circuitmark": Format(".safetensors", "ours: a circuit, or scores", ours.write),
    "mib-json": Format(".json", "MIB's and EAP-IG's, one entry per edge", mib_json.write, nodes=True),
    "mib-pt": Format(".pt", "the same as tensors", mib_pt.write, nodes=True),
    "list": Format(".txt", "one sender -> receiver per line, in our names", edge_list.write),
    "autocircuit": Format("", "in AutoCircuit's names", partial(edge_list.write, spelling="autocircuit")),
    "acdc": Format("", "in ACDC's names", partial(edge_list.write, spelling="acdc")),
}
"""By the name that ``--to`` takes."""


def read_circuit(named: Path | str, graph: EdgeGraph | None = None, *, members: bool = False) -> Contents:
    """Reads a circuit or scores in any format: a file is recognised by its content, not by its name.

    Args:
        named: a file, or ``published:NAME``, see `published.py`.
        graph: of the model to which it should belong; the file's own if left out.
        members: for a file that has both, returns the circuit and not the scores.

    Raises:
        UsageError: it cannot be read, is not a circuit, or belongs to another graph; the file is named.
    """
    try:
        contents = _named(str(named), graph)
        contents = contents.members() if members else contents
        return contents if graph is None else contents.on(graph)
    except DamagedFile as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"{named} cannot be read ({error.strerror or error})") from error
    except DisagreeingGroup as error:
        raise UsageError(f"{named}: {error}: --kv per_head accepts it as it is") from error
    except ValueError as error:
        raise UsageError(f"{named}: {error}") from error


def write_circuit(out: Path, contents: Contents, to: str | None = None) -> None:
    """Writes a new file, whole or not at all.

    Args:
        out: the file.
        contents: a circuit, or scores.
        to: a name in `FORMATS`; the one of the file's ending if left out.

    Raises:
        UsageError: the file exists, there is no such format, or it cannot hold these contents.
        UnwritableFolder: the folder cannot be written to.
    """
    if to is not None and to not in FORMATS:
        raise unknown("format", to, FORMATS)
    kind = FORMATS[to] if to is not None else _by_ending(out)
    if os.path.exists(out):  # unlike out.exists, no error in a forbidden folder
        raise UsageError(f"{out} already exists and is not overwritten: name another file")
    if contents.nodes is not None and not kind.nodes:
        holding = " and ".join(name for name, each in FORMATS.items() if each.nodes)
        raise UsageError(f"{out} cannot be written: only {holding} hold scores of nodes")
    try:
        kind.write(out, contents)
    except ValueError as error:
        raise UsageError(f"{out} cannot be written: {error}") from error


def _by_ending(out: Path) -> Format:
    endings = {each.ending: each for each in FORMATS.values() if each.ending}
    if out.suffix not in endings:
        raise UsageError(
            f"the ending of {out} is not that of a format ({', '.join(endings)}): "
            f"name the format with --to: {', '.join(FORMATS)}"
        )
    return endings[out.suffix]


def _named(name: str, graph: EdgeGraph | None) -> Contents:
    if name.startswith(PREFIX):
        circuit = published(name)
        return Contents(circuit.graph, circuit)
    return _read(Path(os.path.expanduser(name)), graph)


def _read(path: Path, graph: EdgeGraph | None) -> Contents:
    with regular(path).open("rb") as file:
        beginning = file.read(BEGINNING)
    if not beginning:
        raise ValueError("it is empty")
    if beginning.startswith(b"PK\x03\x04"):
        return mib_pt.read(path)
    # safetensors: the length of the header, then the header
    if beginning[8:9] == b"{" and b"\0" in beginning[:8]:
        return ours.read(path)
    if beginning.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"{", b"[")):
        return mib_json.read(path)
    return edge_list.read(path, graph)
