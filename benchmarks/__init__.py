"""Benchmarks: what each stage costs, as a ratio to a floor measured in the same run.

Seconds depend on the machine and on who else uses it; a ratio to unavoidable work travels better.
"""
