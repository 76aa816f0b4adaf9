"""The optimiser of a recipe, made of optax: PyTorch's SGD step for step."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from tenas_jax.train.recipe import Recipe

if TYPE_CHECKING:
    import optax


def schedule(recipe: Recipe, steps: int) -> Callable[[Any], Any]:
    """The learning rate of every step.

    Args:
        recipe: the recipe.
        steps: an epoch.

    Returns:
        Step to rate: linear from `rate / warm-up` up, then cosine or linear to zero at the end of the last epoch.
    """
    import optax

    total, warmup = recipe.epochs * steps, round(recipe.warmup_epochs * steps)
    down = max(total - warmup, 1)
    decay = (
        optax.cosine_decay_schedule(recipe.rate, down)
        if recipe.schedule == "cosine"
        else optax.polynomial_schedule(recipe.rate, 0.0, 1, down)
    )

    def rate(step):
        # As a float: optax mixes whole numbers with it, which a strict promotion of types refuses.
        step = jnp.asarray(step).astype(jnp.result_type(float))
        up = recipe.rate * (step + 1) / max(warmup, 1)
        return jnp.where(step < warmup, up, decay(jnp.maximum(step - warmup, 0.0)))

    return rate


def optimiser(recipe: Recipe, steps: int) -> "optax.GradientTransformation":
    """Clipping, decay, momentum, rate, in PyTorch's order: `v = m v + (g + d w)`, `w -= rate v`, or `rate (g + d w + m v)`.

    Args:
        recipe: the recipe.
        steps: an epoch.
    """
    import optax

    rate = schedule(recipe, steps)
    parts = [optax.clip_by_global_norm(recipe.clip)] if recipe.clip else []
    if recipe.weight_decay:
        parts.append(optax.add_decayed_weights(recipe.weight_decay, None if recipe.decay_norms else _weights))
    if recipe.momentum:
        parts.append(optax.trace(recipe.momentum, recipe.nesterov))
    if recipe.accumulate > 1:
        few = recipe.accumulate
        parts.append(optax.scale_by_learning_rate(lambda step: rate(step * few)))
        return optax.MultiSteps(optax.chain(*parts), few).gradient_transformation()
    return optax.chain(*parts, optax.scale_by_learning_rate(rate))


def _weights(parameters: Mapping[str, Array]) -> dict[str, bool]:
    """Whether each parameter is a weight, and no scale or bias."""
    return {name: not name.endswith((".scale", ".bias")) for name in parameters}


def loss(logits: Float[Array, "b c"], labels: Int[Array, " b"], smoothing: float = 0.0) -> Float[Array, " b"]:
    """Cross-entropy with smoothed labels (Szegedy et al. 2016): `smoothing` is shared out over all classes.

    Args:
        logits: (b, classes).
        labels: (b,).
        smoothing: how much is spread.

    Returns:
        (b,).
    """
    import optax

    targets = jnp.where(
        jnp.arange(logits.shape[-1], dtype=labels.dtype)[None] == labels[:, None],
        jnp.asarray(1 - smoothing, logits.dtype),
        jnp.zeros((), logits.dtype),
    )
    return optax.softmax_cross_entropy(logits, targets + jnp.asarray(smoothing / logits.shape[-1], logits.dtype))
