"""Loops that benchmarks time."""
