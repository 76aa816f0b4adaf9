"""What a network is to the rest of the library: a function of variables and images."""

from collections.abc import Callable
from typing import Any, Literal

from jaxtyping import Array

BatchStats = Literal["frozen", "coupled"]
ApplyFunction = Callable[[Any, Array], Array]
