"""Freehold's benchmarks: `make bench`. Speed claims come from here and from nowhere else.

Each run measures its yardsticks (plain nginx, plain Envoy) beside the product, on the same machine in the same minute;
what counts is the ratio. Raw figures go to `bench/out/*.json`.
"""
