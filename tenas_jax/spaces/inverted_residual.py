"""Inverted residuals (Sandler et al. 2018, section 3.3): expand, one filter a channel, project, no ReLU at the end."""

from tenas_jax.spaces.operators import Reading, Value


def conv_bn(read: Reading[Value], name: str, x: Value, channels: int, stride: int = 1, *, kernel: int = 1) -> Value:
    """A convolution and a batch norm.

    Args:
        read: the reading.
        name: path.
        x: the input.
        channels: outputs.
        stride: of the convolution.
        kernel: its side.
    """
    return read.batch_norm(f"{name}.norm", read.convolution(f"{name}.conv", x, channels, kernel=kernel, stride=stride))


def conv_bn_relu(
    read: Reading[Value], name: str, x: Value, channels: int, stride: int = 1, *, kernel: int = 1
) -> Value:
    """A convolution, a batch norm and a ReLU, with the arguments of `conv_bn`."""
    return read.relu(conv_bn(read, name, x, channels, stride, kernel=kernel))


def depthwise_bn(read: Reading[Value], name: str, x: Value, stride: int, *, kernel: int) -> Value:
    """A depthwise convolution and a batch norm.

    Args:
        read: the reading.
        name: path.
        x: the input.
        stride: of the convolution.
        kernel: its side.
    """
    return read.batch_norm(f"{name}.norm", read.depthwise_convolution(f"{name}.conv", x, kernel=kernel, stride=stride))


def inverted_residual(
    read: Reading[Value],
    name: str,
    x: Value,
    channels: tuple[int, int, int],
    stride: int,
    *,
    kernel: int,
) -> Value:
    """An inverted residual; its input is added where it has the shape of the output.

    Args:
        read: the reading.
        name: path.
        x: the input.
        channels: of the input, inside, and of the output.
        stride: of the depthwise convolution.
        kernel: its side.
    """
    before, inside, after = channels
    y = conv_bn_relu(read, f"{name}.expand", x, inside)
    y = read.relu(depthwise_bn(read, f"{name}.depthwise", y, stride, kernel=kernel))
    y = conv_bn(read, f"{name}.project", y, after)
    return read.add([x, y]) if stride == 1 and before == after else y
