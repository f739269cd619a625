"""Measurements beside named peers, each in one run. `make bench` runs all; `python -m bench.NAME` runs one."""
