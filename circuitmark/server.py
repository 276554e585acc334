"""Imported by the process that all others are forked from: imports everything and computes nothing.

A child then starts in milliseconds. Nothing imported here may start a thread, since a fork copies only the
thread that calls it but the locks of all others; `bench.runs.children` configures libraries accordingly.
"""

from __future__ import annotations

import warnings
from importlib import import_module

from circuitmark.rooms import take

IMPORTED = (
    "transformers.models.auto.configuration_auto",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformer_lens.model_bridge.sources._bridge_builder",
    "bench.models.bridge",
    "bench.runs.beforehand",
    "bench.runs.job",
    "bench.truth.prove",
    "bench.truth.recovery",
)

with warnings.catch_warnings(action="ignore"):  # the parent has warned of what is hidden
    take()
    for _name in IMPORTED:
        import_module(_name)
    import_module("methods.base").find_methods()
