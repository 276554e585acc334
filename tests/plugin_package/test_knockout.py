"""Beside these, pytest holds the method to circuitmark's contract and to `reverse`: see pyproject.toml."""

from circuitmark import Study


def test_it_is_used_by_name() -> None:
    """In a study, as it is at the command line."""
    found = Study("tracr:x_proportion").discover("knockout:examples=8", ["20%"])
    assert found.unaided is not None
    assert len(found[0.2]) > 0
