"""The indicators of a preset."""

from tenas_jax.data import ImageSource
from tenas_jax.scores.catalogue import chosen_scores
from tenas_jax.scores.indicators import Indicator, indicators
from tenas_jax.scores.presets import preset
from tenas_jax.spaces.space import SearchSpace


def of_preset(space: SearchSpace, source: ImageSource, name: str = "default") -> list[Indicator]:
    """What a preset scores by."""
    settings = preset(name, space=space)
    return indicators(space, source, chosen_scores(space, settings.scores), repeats=settings.repeats)
