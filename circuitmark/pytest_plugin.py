"""pytest --circuitmark my_method.py [--circuitmark-programs reverse,x_proportion]: conformance as tests.

pytest loads this in every project of an environment that has circuitmark: without the option it does nothing
and imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

SEEDS = 4
"""Runs of a stochastic method per program."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds our options."""
    group = parser.getgroup("circuitmark")
    group.addoption(
        "--circuitmark",
        action="append",
        default=[],
        metavar="METHOD",
        help="check a method (NAME or FILE.py, with options) against circuitmark's contract; may be repeated",
    )
    group.addoption(
        "--circuitmark-programs",
        default="",
        metavar="PROGRAM,...",
        help="compiled programs whose circuit it must recover exactly under zero and resample ablation; "
        f"if it is stochastic, in at least one of {SEEDS} runs",
    )


@pytest.hookimpl(tryfirst=True)  # before -k and -m select tests
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Adds a test for every check and program.

    Args:
        session: the parent of the tests.
        config: names the methods and programs.
        items: the tests found so far.
    """
    for method in config.getoption("--circuitmark"):
        called = f"circuitmark {method}"
        adapter = Adapter.from_parent(session, name=called, nodeid=called, method=method)
        items += adapter.collect()


class Adapter(pytest.Collector):
    """The tests of one method."""

    def __init__(self, *, method: str, **of_pytest: Any) -> None:
        super().__init__(**of_pytest)
        self.method = method

    def collect(self) -> Iterator[pytest.Item]:
        """A test per check and problem, then one per program and ablation.

        Raises:
            pytest.UsageError: a name is wrong.
        """
        from circuitmark.rooms import take

        try:
            take()
        except ImportError as error:
            raise pytest.UsageError(f"--circuitmark: {error}") from error
        from bench.conformance.check import parts
        from bench.errors import UsageError
        from bench.names import choose_method, get_program
        from bench.truth.verify import ABLATIONS

        try:
            for part in parts(self.method):
                yield self._test(f"{part.name}[{part.problem}]", partial(_check, part))
            for name in filter(None, self.config.getoption("--circuitmark-programs").split(",")):
                get_program(name)
                for ablation in ABLATIONS:
                    recover = partial(_recover, choose_method(self.method), name, ablation)
                    yield self._test(f"recovers[{name}-{ablation}]", recover)
        except UsageError as error:
            raise pytest.UsageError(f"--circuitmark: {error}") from error

    def _test(self, name: str, body: Callable[[], None]) -> pytest.Item:
        test: pytest.Item = Test.from_parent(self, name=name, body=body)
        return test


class Test(pytest.Item):
    """One check, or one recovery."""

    __test__ = False  # not a test class, despite its name

    def __init__(self, *, body: Callable[[], None], **of_pytest: Any) -> None:
        super().__init__(**of_pytest)
        self._body = body

    def runtest(self) -> None:
        """Runs the check."""
        self._body()

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What is wrong, without our own traceback."""
        if isinstance(excinfo.value, Amiss):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Where the test comes from, and its name."""
        return self.path, None, f"{self.parent.name if self.parent else ''} {self.name}"


class Amiss(Exception):
    """The method breaks its contract."""


def _check(part: Any) -> None:
    checked = part.make()
    if checked.outcome == "skipped":
        pytest.skip(checked.reason)
    if checked.outcome == "failed":
        raise Amiss(f"{checked.reason}\nto see it again: {part.command}")


def _recover(method: Any, name: str, ablation: Any) -> None:
    """Requires the unaided circuit to be the true one, for a stochastic method in one of `SEEDS` runs."""
    from bench.models.tracr import load_program
    from bench.names import get_program
    from bench.truth.recovery import FIRST_SEED, recover

    model = load_program(get_program(name))
    truth = model.truth(ablation)
    seeds = range(FIRST_SEED, FIRST_SEED + (SEEDS if method.stochastic else 1))
    with TemporaryDirectory() as folder:
        rows = [recover(model, truth, ablation, method, Path(folder), spec=name, seed=seed) for seed in seeds]
    for row in rows:
        if row["status"] != "ok":
            raise Amiss(f"{row['status']}: {row['status_reason']}")
        if row["unaided_exact"] is None:
            raise Amiss(
                "it returns no unaided circuit, so there is nothing to compare with the true one: return one"
            )
    exact = sum(row["unaided_exact"] for row in rows)
    if exact == 0:
        row = rows[0]
        runs = f"in {len(rows)} runs" if len(rows) > 1 else "in its run"
        raise Amiss(
            f"not recovered {runs}: it finds {row['unaided_edges']} edges where {row['n_true']} are true\n"
            f"found: {row['found_edges']}\ntrue:  {row['true_edges']}"
        )
