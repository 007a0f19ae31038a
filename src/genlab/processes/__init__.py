"""Signals, ranks, and what a job tells the sweep that started it."""
