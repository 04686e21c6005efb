"""Measures the package on this machine: `make bench` runs `bench.ipynb`, which calls these modules and draws."""
