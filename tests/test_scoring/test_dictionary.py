"""The data dictionary says what every column holds, and every row is as it says."""

from __future__ import annotations

import json

import jsonschema
import pandas as pd
import pytest

from bench.scoring.catalogue import METRICS, RECOVERY_METRICS
from bench.scoring.dictionary import COMPUTED, leaderboard_schema, recovery_schema
from command_line import CommandLine

CONFIG = """\
model: embedded
tasks: [gp]
methods: [eap]
sizes: [1%, 5%]
data_seeds: 2
n_discovery: 8
n_evaluation: 24
random_draws: 1
circuit_tests: false
curves: false
"""


@pytest.mark.parametrize("file", ["leaderboard", "recovery"])
def test_every_row_is_as_its_schema_says(command: CommandLine, file: str) -> None:
    (command.folder / "c.yaml").write_text(CONFIG)
    if file == "leaderboard":
        command("run", "--config", "c.yaml", "--out", "out")
    else:
        command(
            "verify-tracr", "-m", "eap", "-m", "random_edges", "-p", "x_proportion", "--out", "out", code=0
        )
    schema = json.loads((command.folder / "out" / f"{file}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    rows = json.loads(pd.read_csv(command.folder / "out" / f"{file}.csv").to_json(orient="records"))
    assert rows
    assert list(rows[0]) == list(schema["properties"])
    for row in rows:
        jsonschema.validate(row, schema)
    assert {name for name, told in schema["properties"].items() if not told["description"]} == set()
    broken = {**rows[-1], "method": 3}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def test_metrics_keep_their_words() -> None:
    """Label, unit and direction are the catalogue's; what it describes, no other list does."""
    for schema_of, metrics in ((leaderboard_schema, METRICS), (recovery_schema, RECOVERY_METRICS)):
        schema = schema_of(pd.DataFrame({metric.name: [0.5] for metric in metrics}))
        for metric in metrics:
            told = schema["properties"][metric.name]
            assert (told["title"], told["better"]) == (metric.label, metric.better)
            assert told.get("unit", "") == metric.unit.replace("text", "")
        assert not COMPUTED.keys() & {metric.name for metric in metrics}
