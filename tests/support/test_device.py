"""Device, precision, memory: all that can be seen without a GPU."""

import pytest
import torch

from latentcrs_utils.errors import ConfigError
from latentcrs_utils.support import device

CPU = torch.device("cpu")


# how many GPUs PyTorch sees (nothing is put on them), the environment, the name that is asked for,
# and the device that is found or what is said instead
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
        (2, {"LOCAL_RANK": "2"}, None, r"GPU 2, but PyTorch sees 2 .* fewer processes"),
        (0, {}, "cuda", r"device='cuda' asks for GPU 0.*sees 0 .*'cpu'"),
        *((2, {}, name, "is not one of cpu, cuda") for name in ("gpu", "cuda:x", "cpu:1", "CUDA")),
    ],
)
def test_a_gpu_is_taken_unless_the_caller_or_the_environment_says_otherwise(
    n_gpus: int, environment: dict, name: str | None, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: n_gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_gpus)
    for variable in ("LATENTCRS_DEVICE", "LOCAL_RANK"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    if found.startswith(("cpu", "cuda")):
        assert device.choose_device(name) == torch.device(found)
    else:
        with pytest.raises(ConfigError, match=found):
            device.choose_device(name)


def test_bfloat16_is_of_the_matrix_products_alone() -> None:
    one = torch.full((2, 2), 1.01)
    with device.autocast(CPU, "bfloat16"):
        product = one @ one
        assert product.dtype == torch.bfloat16
        assert (one + one).dtype == torch.float32
        loss = torch.nn.functional.cross_entropy(product, torch.tensor([0, 1]))
        assert loss.dtype == torch.float32
    with device.autocast(CPU, "float32"):
        assert (one @ one).dtype == torch.float32


def test_the_peak_of_memory_rises_with_what_is_held() -> None:
    before = device.peak_memory(CPU)
    # a process's mark never falls: hold more than it has ever held
    held = torch.ones(before // 4 + 2**24)
    assert before > 2**24
    assert device.peak_memory(CPU) > before + 2**23
    del held
