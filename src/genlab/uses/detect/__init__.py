"""Detect: which examples are unusual for a model, and how well that tells another data set from its own."""
