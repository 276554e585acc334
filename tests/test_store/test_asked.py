"""What a folder was asked for decides what its tables show."""

from __future__ import annotations

import os
from pathlib import Path

from bench.report import write_report
from bench.store.asked import ask
from bench.store.results import REPORTED, Store
from made_runs import run


def test_a_report_is_older_than_what_was_asked_for_since(tmp_path: Path) -> None:
    """A method that is changed back asks for runs that are all there: the tables show others."""
    store = Store(tmp_path)
    each = run("one", {0.01: 0.5})
    store.save("one", each)
    ask(tmp_path, [(each.record, "one", "one")])
    write_report(tmp_path, tmp_path)
    for name in REPORTED:
        os.utime(tmp_path / name, (2e9, 2e9))
    assert store.is_reported()
    ask(tmp_path, [(each.record, "another", "two")])
    os.utime(tmp_path / "asked.json", (3e9, 3e9))
    assert not store.is_reported()
