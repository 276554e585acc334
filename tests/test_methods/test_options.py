"""`circuitmark list methods NAME`: every option says what it does."""

from __future__ import annotations

import json

import pytest

from bench.listing import options
from bench.names import get_method, option_text
from command_line import CommandLine
from methods.base import find_methods


@pytest.mark.parametrize("method", find_methods()[0])
def test_every_option_of_ours_says_what_it_does(method: str) -> None:
    told = options(find_methods()[0][method])
    assert told
    for option in told:
        assert option["description"].endswith("."), option
        assert get_method(f"{method}:{option['name']}={option_text(option['default'])}")


def test_options_of_a_base_class_are_told(command: CommandLine) -> None:
    (row,) = json.loads(command("list", "methods", "acdc_screened", "--json").stdout)
    by_name = {option["name"]: option for option in row["options"]}
    assert by_name["order"] == {
        "name": "order",
        "type": "latest or earliest",
        "default": "latest",
        "description": "Which senders of a receiver come first.",
    }
    assert by_name["share"]["description"] == "Of all edges, those that ACDC tries."
    said = command("list", "methods", "acdc_screened").stdout
    assert "  share=0.2  (float)\n    Of all edges, those that ACDC tries.\n" in said


def test_one_of_other_kinds(command: CommandLine) -> None:
    assert command("list", "metrics", "kl").stdout.startswith("kl  ")
    assert command("list", "tasks", "gp").stdout.startswith("gp: gendered pronoun")
    assert "unknown task 'gpp'; did you mean 'gp'?" in command.complaint("list", "tasks", "gpp")
    assert "unknown method 'eapp'" in command.complaint("list", "methods", "eapp")
