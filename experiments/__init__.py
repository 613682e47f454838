"""Everything that makes a file in `results/`: run as `python -m experiments.NAME`."""
