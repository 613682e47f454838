"""What keeps the course in order; run from the checkout as `python -m tools.NAME`."""

import sys
from pathlib import Path

# the lessons' own package, `course`, lives beside the notebooks
sys.path.append(str(Path(__file__).resolve().parent.parent / "notebooks"))
