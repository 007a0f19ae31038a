"""A run as the dashboards are shown it, and a key that none may show."""

from __future__ import annotations

from genlab.measure.result import Result

KEY = "0123456789abcdef0123456789abcdef01234567"
RUN_ID = "3f2a91cc-s0"
CONFIG = {"seed": 0, "model": {"_target_": "genlab.nowhere.Model", "lr": 0.001, "hidden": "visible-setting"}}
RESULT = Result.of({
    "schema": 1,
    "run_id": RUN_ID,
    "config_hash": "3f" * 32,
    "code_version": "0.1.0",
    "created": "2026-01-01T00:00:00Z",
    "command": "python train.py",
    "seed": 0,
    "model": {"name": "flow", "family": "flow", "variant": "glow", "parameters": 1234},
    "data": {
        "name": "mnist", "split": "test", "modality": "image", "shape": [1, 28, 28], "levels": 256, "num_classes": None,
    },
    "training": {
        "examples_seen": 640, "optimizer_steps": 5, "wall_seconds": 1.5, "device": "cpu", "precision": "32-true",
        "peak_memory_bytes": None, "examples_per_second": None, "stopped_by": "budget", "checkpoint": "best",
    },
    "likelihood": {
        "bits_per_dim": 1.25, "bits_per_dim_se": None, "nats": 679.3, "nats_se": None, "kind": "dequantized-8",
        "of": "p(x)", "examples": 100, "draws": 8,
    },
    "likelihood_last": {
        "bits_per_dim": 1.5, "bits_per_dim_se": None, "nats": None, "nats_se": None, "kind": "dequantized-8",
        "of": "p(x)", "examples": 100, "draws": 8,
    },
    "quality": None,
    "sampling": {"nfe": 1, "ms_per_sample": 0.5, "batch_size": None},
    "protocol": {"name": "quick", "hash": "abc"},
    "reference": None,
    "missing": dict.fromkeys(("quality", "likelihood", "likelihood_last", "training", "sampling", "reference"), "why"),
})  # fmt: skip
