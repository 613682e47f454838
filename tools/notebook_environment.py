"""The one environment in which notebooks are recorded and checked.

Recording (``make notebooks``) and checking (``make test``) compare texts byte for byte, so whatever
can change a printed text is fixed here and nowhere else.
"""

from __future__ import annotations

import os

ENVIRONMENT: dict[str, str] = {
    # Two threads: the number of summands per thread changes the last digits of a float.
    "OMP_NUM_THREADS": "2",
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    # A recorded notebook is a CPU notebook, also on a machine with an accelerator.
    "CUDA_VISIBLE_DEVICES": "",
    # Progress bars go to stderr, which is compared.
    "LATENTCRS_PROGRESS": "0",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    # Sets of strings print in the order of their hashes.
    "PYTHONHASHSEED": "0",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    # Printed tables must not depend on the width of the terminal that started the run.
    "COLUMNS": "100",
    "LINES": "40",
}


def notebook_environment() -> dict[str, str]:
    """Return a copy of this process's environment with ``ENVIRONMENT`` laid over it."""
    return {**os.environ, **ENVIRONMENT}
