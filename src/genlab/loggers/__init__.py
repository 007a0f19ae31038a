"""Dashboards of a run: Weights & Biases, TensorBoard, or none; ``metrics.csv`` is written beside any of them."""
