"""Distances between sets of examples as torchmetrics."""
