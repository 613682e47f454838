"""Everything that makes a file in `results/`: run as `python -m experiments.NAME`."""

import sys
from collections.abc import Callable

from latentcrs_utils.errors import LatentCRSError


def program(main: Callable[..., None]) -> Callable[..., None]:
    """Run a module's `main` where the module is the program; an error of the course is one sentence
    on stderr, and exit status 2.
    """
    if main.__module__ == "__main__":
        try:
            main()
        except LatentCRSError as error:
            print(error, file=sys.stderr)
            sys.exit(2)
    return main
