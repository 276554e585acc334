"""`circuitmark list methods NAME`: every option says what it does."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bench.errors import UsageError
from bench.listing import options
from bench.names import get_method, option_text, params_of, settings_of
from command_line import CommandLine
from methods.base import Method, find_methods
from methods.eap_ig import EAPIG
from methods.edge_pruning import EdgePruning


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
        "description": "Which of a receiver's senders are tried first.",
    }
    assert by_name["share"]["description"] == "Share of all edges that ACDC tries."
    said = command("list", "methods", "acdc_screened").stdout
    assert "  share=0.2  (float)\n    Share of all edges that ACDC tries.\n" in said


def test_presets_are_told_and_set_what_they_say(command: CommandLine) -> None:
    values = EdgePruning.presets["paper"]
    paper = EdgePruning(**values)
    assert get_method("edge_pruning:preset=paper") == paper
    for text in ("preset=paper,examples=8", "examples=8,preset=paper"):  # what is typed goes before a preset
        assert get_method(f"edge_pruning:{text}") == replace(paper, examples=8)
    assert params_of(replace(paper, examples=8)) == "preset=paper,examples=8"
    assert params_of(EdgePruning(rate=0.8)) == "rate=0.8"
    told = command("list", "methods", "edge_pruning").stdout
    assert "\n  preset=paper is evenly=share,afresh=true," in told
    (row,) = json.loads(command("list", "methods", "edge_pruning", "--json").stdout)
    assert row["presets"] == {"paper": values}
    assert "unknown preset of edge_pruning 'papers'; did you mean 'paper'?" in command.complaint(
        "list", "methods", "edge_pruning:preset=papers"
    )
    assert "unknown option of eap 'preset'" in command.complaint("list", "methods", "eap:preset=paper")


@pytest.mark.parametrize("method", find_methods()[0].values(), ids=lambda method: method.name)
def test_presets_set_options_to_what_they_take(method: type[Method]) -> None:
    for name, values in method.presets.items():
        assert values.items() <= settings_of(get_method(f"{method.name}:preset={name}")).items()
        for option, value in values.items():
            assert get_method(f"{method.name}:{option}={option_text(value)}") != method()


def test_one_of_other_kinds(command: CommandLine) -> None:
    assert command("list", "metrics", "kl").stdout.startswith("kl  ")
    assert command("list", "tasks", "gp").stdout.startswith("gp: gendered pronoun")
    assert "unknown task 'gpp'; did you mean 'gp'?" in command.complaint("list", "tasks", "gpp")
    assert "unknown method 'eapp'" in command.complaint("list", "methods", "eapp")


def test_method_options() -> None:
    method = get_method("eap_ig:steps=10,points=clean_corrupted,absolute=false")
    assert method == EAPIG(steps=10, points="clean_corrupted", absolute=False)
    assert get_method(f"eap_ig:{params_of(method)}") == method
    assert params_of(EAPIG()) == ""
    for spec, message in [
        ("eap_ih", "did you mean 'eap_ig'"),
        ("eap:step=3", "unknown option of eap 'step'"),
        ("eap_ig:steps=x", "must be of type int, not 'x'"),
        ("eap_ig:steps=0", "at least 1"),
        ("eap_ig:points=input", "did you mean 'inputs'"),
        ("eap:absolute", "has no value"),
        ("nowhere.py", "no file nowhere.py"),
        ("eap:absolute=yes", "must be of type bool"),
    ]:
        with pytest.raises(UsageError, match=message):
            get_method(spec)
