"""Where classes lay that run folders name, so that a moved class is neither lost nor another run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["at_home", "by_first_name"]

MOVED: dict[str, str] = {
    "genlab.evaluation.EvaluationProtocol": "genlab.measure.protocol.EvaluationProtocol",
    "genlab.models.autoregressive.Made": "genlab.models.made.Made",
    "genlab.models.autoregressive.PixelCNN": "genlab.models.pixelcnn.PixelCNN",
    "genlab.models.autoregressive.PixelRNN": "genlab.models.pixelrnn.PixelRNN",
    "genlab.models.autoregressive.Transformer": "genlab.models.transformer.Transformer",
    "genlab.models.flow.MultiScaleConfig": "genlab.models.flow_networks.MultiScaleConfig",
    "genlab.models.flow.SignalConfig": "genlab.models.flow_networks.SignalConfig",
    "genlab.models.flow.TableConfig": "genlab.models.flow_networks.TableConfig",
    "genlab.models.flow.VectorConfig": "genlab.models.flow_networks.VectorConfig",
    "genlab.models.gan.ConvConfig": "genlab.models.gan_networks.ConvConfig",
    "genlab.models.gan.MLPConfig": "genlab.models.gan_networks.MLPConfig",
    "genlab.models.gan.WaveConfig": "genlab.models.gan_networks.WaveConfig",
    "genlab.models.iterative.DiTConfig": "genlab.models.denoisers.DiTConfig",
    "genlab.models.iterative.MLPConfig": "genlab.models.denoisers.MLPConfig",
    "genlab.models.iterative.UNetConfig": "genlab.models.denoisers.UNetConfig",
    "genlab.networks.noise_schedules.NoiseConfig": "genlab.networks.diffusion.noise_schedules.NoiseConfig",
    "genlab.networks.ode.LikelihoodConfig": "genlab.networks.diffusion.ode.LikelihoodConfig",
    "genlab.networks.ode.OdeConfig": "genlab.networks.diffusion.ode.OdeConfig",
    "genlab.schedules.WarmupConstant": "genlab.core.schedules.WarmupConstant",
    "genlab.schedules.WarmupCosine": "genlab.core.schedules.WarmupCosine",
    "genlab.sharding.ShardedStrategy": "genlab.training.sharding.ShardedStrategy",
}
"""First name and present name of each class that has moved. The first is the one that counts for a run's identity."""

_FIRST_NAMES = {now: first for first, now in MOVED.items()}


def at_home(config: Any) -> Any:
    """Return a config as plain containers whose every ``_target_`` is where its class lies now."""
    return _renamed(config, MOVED)


def by_first_name(config: Any) -> Any:
    """Return a config as plain containers whose every ``_target_`` has the name that its class had first."""
    return _renamed(config, _FIRST_NAMES)


def _renamed(node: Any, names: Mapping[str, str]) -> Any:
    if isinstance(node, Mapping):
        return {
            key: names.get(value, value) if key == "_target_" and isinstance(value, str) else _renamed(value, names)
            for key, value in node.items()
        }
    return [_renamed(item, names) for item in node] if isinstance(node, list | tuple) else node
