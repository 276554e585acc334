"""Which devices are refused."""

from __future__ import annotations

import pytest
import torch

from bench.engine.device import check_device
from bench.errors import UsageError

NAMES = ["meta", "hpu", "privateuseone", "mkldnn", "xla", "cpu:7", "cpu:", "nonsense", "", "cuda:99", "mps:9"]


@pytest.mark.parametrize("name", NAMES)
def test_devices_that_do_not_compute_are_refused(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_device(name)
    told = str(refused.value)
    assert told.startswith(f"the device '{name}' cannot be used (")
    assert told.endswith("): leave --device out to use the CPU")
    assert len(told.splitlines()) == 1


def test_devices_at_hand_are_taken() -> None:
    check_device("cpu")
    check_device("cpu:0")
    if torch.cuda.is_available():
        check_device("cuda")
