"""Training whose state is divided among the devices: gradients, optimizer states and averaged weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, nn
from torch.optim import Optimizer

from genlab.core.errors import GenlabError
from genlab.core.sharded import collect, shard_like

__all__ = ["ShardedStrategy"]


class ShardedStrategy(DDPStrategy):
    """Fully sharded data parallel training: PyTorch's ``fully_shard``, with the model as one unit.

    Each device keeps its part of every parameter, of its average and of the optimizer's state, and reduces its part of
    the gradient; the whole parameters are gathered for each step. Rajbhandari et al. (2020), "ZeRO". Checkpoints hold
    whole tensors, as those of one device do, so that a run goes on on any number of devices, sharded or not.

    For families with one optimizer: the backward passes of several within a step would not be reduced.
    """

    def _setup_model(self, model: nn.Module) -> nn.Module:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

        if scalars := [name for name, parameter in model.named_parameters() if parameter.ndim == 0]:
            raise GenlabError(f"trainer=fsdp cannot divide {', '.join(scalars)}, which is a number. Use trainer=ddp.")
        for parameter in model.parameters():
            parameter.data = parameter.data.contiguous()  # the order of an image's axes cannot be kept in parts
        fully_shard(model, mesh=init_device_mesh(self.root_device.type, (self.world_size,)))
        for step in ("training_step", "validation_step"):
            register_fsdp_forward_method(model, step)
        return model

    def _register_ddp_hooks(self) -> None:
        """Nothing: they are for what DDP wraps."""

    def validation_step(self, *args: Any, **kwargs: Any) -> Any:
        output = super().validation_step(*args, **kwargs)
        self.model.reshard()  # what was gathered would outlive a change of the parts
        return output

    def lightning_module_state_dict(self) -> dict[str, Any]:
        return _collect_all(super().lightning_module_state_dict())

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        return _collect_all(super().optimizer_state(optimizer))

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        for optimizer, saved in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            state = {
                index: {name: _part(value, parameters[index]) for name, value in values.items()}
                for index, values in saved["state"].items()
            }
            optimizer.load_state_dict({**saved, "state": state})


def _part(value: Any, parameter: Tensor) -> Any:
    return shard_like(value, parameter) if isinstance(value, Tensor) and value.shape == parameter.shape else value


def _collect_all(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _collect_all(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_collect_all(item) for item in value]
    return collect(value.detach()) if isinstance(value, Tensor) else value
