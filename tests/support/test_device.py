"""Device, precision, memory: all that can be seen without a GPU."""

from __future__ import annotations

import pytest
import torch

from latentcrs_utils.errors import ConfigError
from latentcrs_utils.support import device


@pytest.fixture(autouse=True)
def no_wishes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LATENTCRS_DEVICE", raising=False)
    monkeypatch.delenv("LOCAL_RANK", raising=False)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let PyTorch say that it sees two GPUs; devices are only named, nothing is put on them."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_a_gpu_is_taken_unless_the_caller_or_the_environment_says_otherwise(
    two_gpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert device.choose_device() == torch.device("cuda", 0)
    assert device.choose_device("cpu") == torch.device("cpu")
    assert device.choose_device("cuda:1") == torch.device("cuda", 1)
    monkeypatch.setenv("LATENTCRS_DEVICE", "cpu")
    assert device.choose_device() == torch.device("cpu")
    assert device.choose_device("cuda") == torch.device("cuda", 0)


def test_each_process_has_a_gpu_of_its_own(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert device.choose_device() == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ConfigError, match=r"GPU 2, but PyTorch sees 2 .* fewer processes"):
        device.choose_device()


def test_without_a_gpu_it_is_the_cpu(no_gpu: None) -> None:
    assert device.choose_device() == torch.device("cpu")
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
