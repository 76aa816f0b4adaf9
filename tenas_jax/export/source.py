"""Reads a network as source code: every operation becomes a line of Python, every cell a class.

What differs between frameworks is a `Dialect`: how a layer is made and called, and how a file begins. A class is written
once for all cells that have the same lines, with their channels as its argument.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from tenas_jax.errors import InputError
from tenas_jax.networks.stand_alone import Blueprint
from tenas_jax.spaces.stacking import cell as plain_cell

WIDTH = "channels"  # the argument of a cell's class


class Value(NamedTuple):
    """A variable of the source code.

    Attributes:
        name: an expression.
        channels: how many.
        stride: of zeros that are made of `name`; 0 for what is no zeros.
        widened: whether zeros have other channels than `name`.
        cell: whether it is one of the nodes that a cell returns together.
    """

    name: str
    channels: int
    stride: int = 0
    widened: bool = False
    cell: bool = False


class Convolution(NamedTuple):
    """A convolution without bias; numbers of channels are expressions.

    Attributes:
        inputs: channels that enter.
        outputs: channels that leave.
        kernel: its side.
        stride: in both directions.
        dilation: between taps.
        depthwise: one filter a channel.
    """

    inputs: str
    outputs: str
    kernel: int
    stride: int
    dilation: int
    depthwise: bool

    @property
    def padding(self) -> int:
        """Of every border, which keeps positions."""
        return self.dilation * (self.kernel - 1) // 2


class Dialect(Protocol):
    """How a framework writes what a network does. A layer is a pair: what makes it, and what calls it on `x`."""

    def convolution(self, name: str, x: str, layer: Convolution) -> tuple[str, str]:
        """A convolution."""
        ...

    def batch_norm(self, name: str, x: str, channels: str) -> tuple[str, str]:
        """A batch norm."""
        ...

    def linear(self, name: str, x: str, inputs: str, outputs: str) -> tuple[str, str]:
        """A linear layer, of (b, inputs)."""
        ...

    def mean(self, x: str) -> str:
        """Global average pooling, to (b, channels)."""
        ...

    def gated(self, x: str, gates: str) -> str:
        """Channels times the hard sigmoid of gates (b, channels)."""
        ...

    def call_cell(self, name: str, kind: str, inputs: Sequence[str], channels: str) -> tuple[str, str]:
        """A cell."""
        ...

    def relu(self, x: str) -> str:
        """The positive part."""
        ...

    def pool(self, kind: str, x: str, window: int, stride: int, padding: int) -> str:
        """A maximum or an average, "max" or "avg"; padded positions do not count."""
        ...

    def crop(self, x: str, offset: int, stride: int) -> str:
        """Every so many positions, zeros behind the border."""
        ...

    def zeros(self, x: str, stride: int, channels: str | None) -> str:
        """Zeros of the strided shape, where `channels` are given with those."""
        ...

    def concatenate(self, values: Sequence[str]) -> str:
        """Stacked channels."""
        ...

    def truncate(self, x: str, channels: str) -> str:
        """The first channels."""
        ...

    def module(
        self, name: str, inputs: Sequence[str], layers: Sequence[str], lines: Sequence[str], returned: str
    ) -> str:
        """A class; without `inputs` that of the whole network, which takes `images`."""
        ...


class SourceReading:
    """Variables flow through the network. See `operators.Reading`.

    Attributes:
        layers: what makes each layer.
        lines: what is computed.
        classes: source of the cells' classes, by name.
        names: the path of each layer in the written network, by our name.
    """

    def __init__(self, dialect: Dialect, path: str = "", width: int = 0):
        """Begins with nothing written.

        Args:
            dialect: of the framework.
            path: of the cell that is read; empty for the whole network.
            width: channels of that cell.
        """
        self._dialect, self._path, self._width = dialect, path, width
        self.layers: list[str] = []
        self.lines: list[str] = []
        self.classes: dict[str, str] = {}
        self.names: dict[str, str] = {}

    def _channels(self, count: int) -> str:
        """A number, within a cell by the cell's width."""
        half = self._width // 2
        known = {self._width: WIDTH, half: f"{WIDTH} // 2", self._width - half: f"{WIDTH} - {WIDTH} // 2"}
        # Of an even width both halves are the same number.
        known |= {half: f"{WIDTH} // 2", self._width: WIDTH} if self._width else {}
        return known.get(count, str(count)) if self._width else str(count)

    def _write(self, expression: str, channels: int) -> Value:
        name = f"x{len(self.lines) + 1}"
        self.lines.append(f"{name} = {expression}")
        return Value(name, channels)

    def _attribute(self, name: str) -> str:
        short = name.removeprefix(f"{self._path}.").replace(".", "_")
        self.names[name] = short
        return short

    def _layer(self, made_and_called: tuple[str, str], channels: int) -> Value:
        made, called = made_and_called
        self.layers.append(made)
        return self._write(called, channels)

    def _value(self, x: Value) -> str:
        if not x.stride:
            return x.name
        return self._dialect.zeros(x.name, x.stride, self._channels(x.channels) if x.widened else None)

    def convolution(self, name, x, channels, *, kernel=1, stride=1, dilation=1):
        """See `operators.Reading`."""
        layer = Convolution(self._channels(x.channels), self._channels(channels), kernel, stride, dilation, False)
        return self._layer(self._dialect.convolution(self._attribute(name), self._value(x), layer), channels)

    def convolution_to(self, name, x, widths, weights, *, kernel=1, stride=1):
        """Of one architecture every width is known."""
        raise InputError(f"{name} has one of several widths; source is written of single architectures.")

    def depthwise_convolution(self, name, x, *, kernel, stride=1, dilation=1):
        """See `operators.Reading`."""
        width = self._channels(x.channels)
        layer = Convolution(width, width, kernel, stride, dilation, True)
        return self._layer(self._dialect.convolution(self._attribute(name), self._value(x), layer), x.channels)

    def batch_norm(self, name, x):
        """See `operators.Reading`."""
        made = self._dialect.batch_norm(self._attribute(name), self._value(x), self._channels(x.channels))
        return self._layer(made, x.channels)

    def relu(self, x):
        """See `operators.Reading`."""
        return self._write(self._dialect.relu(self._value(x)), x.channels)

    def average_pool(self, x, *, window, stride, padding):
        """See `operators.Reading`."""
        return self._write(self._dialect.pool("avg", self._value(x), window, stride, padding), x.channels)

    def max_pool(self, x, *, window, stride, padding):
        """See `operators.Reading`."""
        return self._write(self._dialect.pool("max", self._value(x), window, stride, padding), x.channels)

    def crop(self, x, *, offset, stride):
        """See `operators.Reading`."""
        return self._write(self._dialect.crop(self._value(x), offset, stride), x.channels)

    def zero(self, x, *, stride, channels=None):
        """See `operators.Reading`; nothing is written until somebody needs the zeros."""
        return Value(self._value(x), channels or x.channels, stride, channels not in (None, x.channels))

    def concatenate(self, values):
        """See `operators.Reading`; what a cell has returned is concatenated already."""
        if all(value.cell for value in values):
            return values[0]._replace(cell=False, channels=sum(value.channels for value in values))
        return self._write(
            self._dialect.concatenate([self._value(value) for value in values]), sum(value.channels for value in values)
        )

    def truncate(self, x, channels):
        """See `operators.Reading`."""
        if channels == x.channels:
            return x
        return self._write(self._dialect.truncate(self._value(x), self._channels(channels)), channels)

    def add(self, values):
        """See `operators.Reading`."""
        carrying = [value for value in values if not value.stride] or values[:1]
        if len(carrying) == 1 and not carrying[0].stride:
            return carrying[0]
        return self._write(" + ".join(self._value(value) for value in carrying), carrying[0].channels)

    def cell_inputs(self, values):
        """Nothing to do."""
        return values

    def edges(self, x, weights, operators, names):
        """See `operators.Reading`; of every edge the one operator that it holds."""
        found = []
        for row, name in zip(weights, names, strict=True):
            (held,) = (operator for operator, weight in zip(operators, row, strict=True) if weight > 0)
            found.append(held(name, x))
        return found

    def choose(self, name, x, weights, operators, channels):
        """See `operators.Reading`; the one way that is taken."""
        (held,) = (operator for operator, weight in zip(operators, weights, strict=True) if weight > 0)
        return held(name, x)

    def squeeze_excite(self, name, x, channels):
        """See `operators.Reading`."""
        squeezed = self.relu(self._linear(f"{name}.squeeze", self._dialect.mean(self._value(x)), x.channels, channels))
        gates = self._linear(f"{name}.excite", squeezed.name, channels, x.channels)
        return self._write(self._dialect.gated(self._value(x), gates.name), x.channels)

    def head(self, name, x, classes):
        """See `operators.Reading`."""
        return self._linear(name, self._dialect.mean(self._value(x)), x.channels, classes)

    def _linear(self, name: str, x: str, inputs: int, outputs: int) -> Value:
        layer = self._dialect.linear(self._attribute(name), x, self._channels(inputs), self._channels(outputs))
        return self._layer(layer, outputs)

    def custom(self, name, x, layer):
        """Refused."""
        raise InputError(
            f"{name} holds a layer of its own ({layer!r}), whose source is not known; export the parameters."
        )

    def cell(self, read, space, name, weights, inputs, channels, *, reduce=False):
        """A cell becomes a class and a call of it; in networks of a space's own it is written where it stands."""
        if space.network is not None:
            return plain_cell(read, space, name, weights, inputs, channels, reduce=reduce)
        inner = SourceReading(self._dialect, name, channels)
        entering = [Value(f"input{place}", value.channels) for place, value in enumerate(inputs)]
        nodes = plain_cell(inner, space, name, weights, entering, channels, reduce=reduce)
        joined = space.family.concatenates
        returned = inner.concatenate(nodes[space.inputs :]) if joined else nodes[-1]
        kind = self._class("ReductionCell" if reduce else "Cell", inner, [v.name for v in entering], returned.name)
        path = self._attribute(name)
        del self.names[name]
        self.names |= {key: f"{path}.{short}" for key, short in inner.names.items()}
        call = self._dialect.call_cell(path, kind, [self._value(value) for value in inputs], str(channels))
        output = self._layer(call, channels)
        # A cell that concatenates returns its inner nodes as one value, of which each is a share.
        return [*inputs, *(output._replace(cell=joined) for _ in nodes[space.inputs :])]

    def _class(self, kind: str, inner: "SourceReading", inputs: Sequence[str], returned: str) -> str:
        """The name of the class with these lines; cells that differ get numbers."""
        for number in range(1, len(self.classes) + 2):
            name = kind if number == 1 else f"{kind}{number}"
            source = self._dialect.module(name, inputs, inner.layers, inner.lines, returned)
            if self.classes.setdefault(name, source) == source:
                return name
        raise AssertionError("some number is free")


def written(blueprint: Blueprint, dialect: Dialect) -> tuple[str, dict[str, str]]:
    """The source of a network.

    Args:
        blueprint: the network; its auxiliary head, which only training needs, is left out.
        dialect: of the framework.

    Returns:
        The classes, and the path of each layer in them by our name.

    Raises:
        InputError: for a custom layer.
    """
    read: Any = SourceReading(dialect)
    logits, _ = blueprint.read(read, Value("images", 3))
    network = dialect.module("Network", (), read.layers, read.lines, logits.name)
    return "\n\n".join([*read.classes.values(), network]), read.names
