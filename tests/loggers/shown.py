"""A run as the dashboards are shown it, and a key that none may show."""

from __future__ import annotations

KEY = "0123456789abcdef0123456789abcdef01234567"
RUN_ID = "3f2a91cc-s0"
CONFIG = {"seed": 0, "model": {"_target_": "genlab.nowhere.Model", "lr": 0.001, "hidden": "visible-setting"}}
RESULT = {
    "schema": 1,
    "run_id": RUN_ID,
    "model": {"family": "flow", "variant": "glow", "parameters": 1234},
    "data": {"name": "mnist", "split": "test", "modality": "image", "shape": [1, 28, 28], "num_classes": None},
    "training": {"examples_seen": 640, "wall_seconds": 1.5, "device": "cpu"},
    "likelihood": {"bits_per_dim": 1.25, "nats": 679.3, "kind": "dequantized-8", "bits_per_dim_se": None},
    "likelihood_last": {"bits_per_dim": 1.5, "kind": "dequantized-8"},
    "quality": None,
    "sampling": {"nfe": 1, "ms_per_sample": 0.5},
    "protocol": {"name": "quick", "hash": "abc"},
    "reference": None,
    "missing": {"quality": "not measured"},
}
