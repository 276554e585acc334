"""What the process imports from which all others are forked: everything, computing nothing.

A child then begins in milliseconds. Only what starts no thread may be imported here, for a fork takes along
the thread that calls it and the locks of all others; `bench.runs.children` sets what that asks of libraries.
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

with warnings.catch_warnings(action="ignore"):  # the parent has told what is hidden
    take()
    for _name in IMPORTED:
        import_module(_name)
    import_module("methods.base").find_methods()
