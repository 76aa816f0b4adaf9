"""How PyTorch and Flax write a network."""

from collections.abc import Sequence

from tenas_jax.export.source import WIDTH, Convolution


def _indented(lines: Sequence[str], depth: int) -> str:
    return "\n".join(" " * 4 * depth + line for line in lines)


class Torch:
    """PyTorch: layers are made in `__init__`; images are (b, c, h, w)."""

    header = "import torch\nfrom torch import nn\nfrom torch.nn import functional as F\n"

    def convolution(self, name: str, x: str, layer: Convolution) -> tuple[str, str]:
        """See `Dialect`."""
        options = {
            "stride": layer.stride if layer.stride > 1 else None,
            "padding": layer.padding or None,
            "dilation": layer.dilation if layer.dilation > 1 else None,
            "groups": layer.inputs if layer.depthwise else None,
        }
        given = "".join(f", {key}={value}" for key, value in options.items() if value)
        made = f"self.{name} = nn.Conv2d({layer.inputs}, {layer.outputs}, {layer.kernel}{given}, bias=False)"
        return made, f"self.{name}({x})"

    def batch_norm(self, name: str, x: str, channels: str) -> tuple[str, str]:
        """See `Dialect`."""
        return f"self.{name} = nn.BatchNorm2d({channels})", f"self.{name}({x})"

    def linear(self, name: str, x: str, inputs: str, outputs: str) -> tuple[str, str]:
        """See `Dialect`."""
        return f"self.{name} = nn.Linear({inputs}, {outputs})", f"self.{name}({x})"

    def mean(self, x: str) -> str:
        """See `Dialect`."""
        return f"{x}.mean((2, 3))"

    def gated(self, x: str, gates: str) -> str:
        """See `Dialect`."""
        return f"{x} * F.hardsigmoid({gates})[:, :, None, None]"

    def call_cell(self, name: str, kind: str, inputs: Sequence[str], channels: str) -> tuple[str, str]:
        """See `Dialect`."""
        return f"self.{name} = {kind}({channels})", f"self.{name}({', '.join(inputs)})"

    def relu(self, x: str) -> str:
        """See `Dialect`."""
        return f"F.relu({x})"

    def pool(self, kind: str, x: str, window: int, stride: int, padding: int) -> str:
        """See `Dialect`."""
        inside = ", count_include_pad=False" if kind == "avg" else ""
        return f"F.{kind}_pool2d({x}, {window}, {stride}, {padding}{inside})"

    def crop(self, x: str, offset: int, stride: int) -> str:
        """See `Dialect`."""
        if not offset:
            return f"{x}[:, :, ::{stride}, ::{stride}]"
        return f"F.pad({x}, (0, {offset}, 0, {offset}))[:, :, {offset}::{stride}, {offset}::{stride}]"

    def zeros(self, x: str, stride: int, channels: str | None) -> str:
        """See `Dialect`."""
        if channels:
            return f"{x}.new_zeros(({x}.shape[0], {channels}, *{x}[:, :, ::{stride}, ::{stride}].shape[2:]))"
        return f"torch.zeros_like({x}[:, :, ::{stride}, ::{stride}])"

    def concatenate(self, values: Sequence[str]) -> str:
        """See `Dialect`."""
        return f"torch.cat([{', '.join(values)}], 1)"

    def truncate(self, x: str, channels: str) -> str:
        """See `Dialect`."""
        return f"{x}[:, :{channels}]"

    def module(
        self, name: str, inputs: Sequence[str], layers: Sequence[str], lines: Sequence[str], returned: str
    ) -> str:
        """See `Dialect`."""
        argument, width = (", ".join(inputs), f"self, {WIDTH}") if inputs else ("images", "self")
        kept, known = [], []
        if inputs and any(WIDTH in line for line in lines):  # zeros and truncations name it where nothing is made
            kept, known = [f"self.{WIDTH} = {WIDTH}"], [f"{WIDTH} = self.{WIDTH}"]
        made = _indented(["super().__init__()", *kept, *layers], 2)
        return (
            f"class {name}(nn.Module):\n    def __init__({width}):\n{made}\n\n"
            f"    def forward(self, {argument}):\n{_indented([*known, *lines, f'return {returned}'], 2)}\n"
        )


class Flax:
    """Flax Linen: layers are made where they are called; images are (b, h, w, c)."""

    header = "import flax.linen as nn\nimport jax.numpy as jnp\n"

    def convolution(self, name: str, x: str, layer: Convolution) -> tuple[str, str]:
        """See `Dialect`."""
        options = {
            "strides": layer.stride if layer.stride > 1 else None,
            "kernel_dilation": layer.dilation if layer.dilation > 1 else None,
            "feature_group_count": layer.inputs if layer.depthwise else None,
        }
        given = "".join(f", {key}={value}" for key, value in options.items() if value)
        size = f"({layer.kernel}, {layer.kernel})"
        made = f'nn.Conv({layer.outputs}, {size}{given}, padding={layer.padding}, use_bias=False, name="{name}")'
        return "", f"{made}({x})"

    def batch_norm(self, name: str, x: str, channels: str) -> tuple[str, str]:
        """See `Dialect`."""
        made = f'nn.BatchNorm(not train, momentum=0.9, use_fast_variance=False, name="{name}")'
        return "", f"{made}({x})"

    def linear(self, name: str, x: str, inputs: str, outputs: str) -> tuple[str, str]:
        """See `Dialect`."""
        return "", f'nn.Dense({outputs}, name="{name}")({x})'

    def mean(self, x: str) -> str:
        """See `Dialect`."""
        return f"{x}.mean((1, 2))"

    def gated(self, x: str, gates: str) -> str:
        """See `Dialect`."""
        return f"{x} * nn.hard_sigmoid({gates})[:, None, None]"

    def call_cell(self, name: str, kind: str, inputs: Sequence[str], channels: str) -> tuple[str, str]:
        """See `Dialect`."""
        return "", f'{kind}({channels}, name="{name}")({", ".join(inputs)}, train)'

    def relu(self, x: str) -> str:
        """See `Dialect`."""
        return f"nn.relu({x})"

    def pool(self, kind: str, x: str, window: int, stride: int, padding: int) -> str:
        """See `Dialect`."""
        inside = ", count_include_pad=False" if kind == "avg" else ""
        border = f"(({padding}, {padding}), ({padding}, {padding}))"
        return f"nn.{kind}_pool({x}, ({window}, {window}), ({stride}, {stride}), {border}{inside})"

    def crop(self, x: str, offset: int, stride: int) -> str:
        """See `Dialect`."""
        if not offset:
            return f"{x}[:, ::{stride}, ::{stride}]"
        padded = f"jnp.pad({x}, ((0, 0), (0, {offset}), (0, {offset}), (0, 0)))"
        return f"{padded}[:, {offset}::{stride}, {offset}::{stride}]"

    def zeros(self, x: str, stride: int, channels: str | None) -> str:
        """See `Dialect`."""
        if channels:
            return f"jnp.zeros((*{x}[:, ::{stride}, ::{stride}].shape[:-1], {channels}), {x}.dtype)"
        return f"jnp.zeros_like({x}[:, ::{stride}, ::{stride}])"

    def concatenate(self, values: Sequence[str]) -> str:
        """See `Dialect`."""
        return f"jnp.concatenate([{', '.join(values)}], axis=-1)"

    def truncate(self, x: str, channels: str) -> str:
        """See `Dialect`."""
        return f"{x}[..., :{channels}]"

    def module(
        self, name: str, inputs: Sequence[str], layers: Sequence[str], lines: Sequence[str], returned: str
    ) -> str:
        """See `Dialect`."""
        argument = f"{', '.join(inputs)}, train" if inputs else "images, train=False"
        width = f"    {WIDTH}: int\n\n" if inputs else ""
        own = [f"{WIDTH} = self.{WIDTH}"] if inputs else []
        body = _indented([*own, *lines, f"return {returned}"], 2)
        return f"class {name}(nn.Module):\n{width}    @nn.compact\n    def __call__(self, {argument}):\n{body}\n"
