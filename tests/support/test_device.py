"""Device, precision, memory: all that can be seen without a GPU."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from latentcrs_utils.errors import ConfigError
from latentcrs_utils.support import device


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets PyTorch see some GPUs; devices are only named, nothing is put on them."""

    def describe(n_gpus: int, **environment: str) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: n_gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: n_gpus)
        for name in ("LATENTCRS_DEVICE", "LOCAL_RANK"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    return describe


@pytest.mark.parametrize(
    ("n_gpus", "environment", "name", "found"),
    [
        (0, {}, None, "cpu"),
        (2, {}, None, "cuda:0"),
        (2, {}, "cpu", "cpu"),
        (2, {}, "cuda:1", "cuda:1"),
        (2, {"LATENTCRS_DEVICE": "cpu"}, None, "cpu"),
        (2, {"LATENTCRS_DEVICE": "cpu"}, "cuda", "cuda:0"),
        # each process has a GPU of its own
        (2, {"LOCAL_RANK": "1"}, None, "cuda:1"),
    ],
)
def test_a_gpu_is_taken_unless_the_caller_or_the_environment_says_otherwise(
    machine: Callable[..., None], n_gpus: int, environment: dict, name: str | None, found: str
) -> None:
    machine(n_gpus, **environment)
    assert device.choose_device(name) == torch.device(found)


def test_a_gpu_that_is_not_there(machine: Callable[..., None]) -> None:
    machine(2, LOCAL_RANK="2")
    with pytest.raises(ConfigError, match=r"GPU 2, but PyTorch sees 2 .* fewer processes"):
        device.choose_device()
    machine(0)
    with pytest.raises(ConfigError, match=r"device='cuda' asks for GPU 0.*sees 0 .*'cpu'"):
        device.choose_device("cuda")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cpu:1", "CUDA", "meta"])
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="is not one of cpu, cuda"):
        device.choose_device(name)


def test_bfloat16_is_of_the_matrix_products_alone() -> None:
    cpu = torch.device("cpu")
    one = torch.full((2, 2), 1.01)
    with device.autocast(cpu, "bfloat16"):
        product = one @ one
        assert product.dtype == torch.bfloat16
        assert (one + one).dtype == torch.float32
        assert torch.nn.functional.cross_entropy(product, torch.tensor([0, 1])).dtype == (
            torch.float32
        )
    with device.autocast(cpu, "float32"):
        assert (one @ one).dtype == torch.float32


def test_the_peak_of_memory_rises_with_what_is_held() -> None:
    cpu = torch.device("cpu")
    before = device.peak_memory(cpu)
    # a process's mark never falls: hold more than it has ever held
    held = torch.ones(before // 4 + 2**24)
    assert before > 2**24
    assert device.peak_memory(cpu) > before + 2**23
    del held
