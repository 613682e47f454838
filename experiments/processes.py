"""A command in one process or several: joined at its start, left in order at its end."""

import sys
from collections.abc import Callable

import torch

from latentcrs_utils.errors import LatentCRSError
from latentcrs_utils.support.device import choose_device
from latentcrs_utils.support.processes import Processes, join


def run_command(
    work: Callable[[Processes], None], *, device: str | None = None, expected: int | None = None
) -> int:
    """Do a command's work in this process and those started with it, and leave them.

    Returns the exit status: 0, or 2 after an error of ours, which is one sentence on stderr.
    """
    done = False
    try:
        work(join(choose_device(device), expected=expected))
        done = True
    except LatentCRSError as error:
        print(f"Error: {error}", file=sys.stderr)
    finally:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            # none ends what another still uses; but nobody may wait for one that failed
            if done:
                torch.distributed.barrier()
            torch.distributed.destroy_process_group()
    return 0 if done else 2
