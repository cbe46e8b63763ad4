"""The same training in JAX: the only import of it, from the optional extra ``bench``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

# How the loss is written: log(1 + exp(-margin)), the fastest that was found; with BCELoss's clamps, as ours is
FORMS = ("log1p", "BCELoss")


def missing() -> str:
    """Return why JAX cannot be measured; nothing if it can."""
    return "" if find_spec("jax") else "JAX is not installed (make bench brings it)"


def trainer(
    form: str, x: np.ndarray, y: np.ndarray, weights: dict[str, np.ndarray], epochs: int, learning_rate: float
) -> Callable[[], np.ndarray]:
    """Prepare a training of ReLU networks by BCE, in one of `FORMS`, and plain gradient descent.

    ``vmap`` over networks of ``value_and_grad``, ``scan`` over epochs, ``jit`` around it, float32. Layers are matrix
    products: on XLA's CPU backend they were some fifteen times faster than sums of elementwise ones. Shapes: ``x``
    (networks, 2, points), ``y`` (points,), ``weights`` (networks, ...).

    The returned function trains all networks from their start and returns the losses, (networks, epochs). It compiles
    when it is first called.
    """
    import jax
    import jax.numpy as jnp
    from jax import lax

    def logit(w: dict[str, Any], x: Any) -> Any:
        last = len(w) - 2  # JAX sorts names, so that layers are found by number
        for layer in range(0, last, 2):
            x = jax.nn.relu(w[f"{layer}.weight"] @ x + w[f"{layer}.bias"][:, None])  # (hidden, points)
        return (w[f"{last}.weight"] @ x + w[f"{last}.bias"][:, None])[0]  # (points,)

    def log1p(w: dict[str, Any], x: Any, y: Any) -> Any:
        z = logit(w, x)
        return jnp.log1p(jnp.exp(jnp.where(y > 0.5, -z, z))).mean()

    def bce_loss(w: dict[str, Any], x: Any, y: Any) -> Any:
        z = logit(w, x)
        p = lax.stop_gradient(jax.nn.sigmoid(z))
        value = jnp.minimum(-jnp.log(jnp.where(y > 0.5, p, 1 - p)), 100.0)
        gradient = (p - y) * jnp.minimum(p * (1 - p) * 1e12, 1.0)
        return (value + gradient * (z - lax.stop_gradient(z))).mean()

    step = jax.vmap(jax.value_and_grad({"log1p": log1p, "BCELoss": bce_loss}[form]), in_axes=(0, 0, None))

    @functools.partial(jax.jit, static_argnames="epochs")
    def run(w: dict[str, Any], x: Any, y: Any, epochs: int) -> Any:
        def update(w: dict[str, Any], _: None) -> tuple[dict[str, Any], Any]:
            value, gradient = step(w, x, y)
            return jax.tree.map(lambda a, g: a - learning_rate * g, w, gradient), value

        return lax.scan(update, w, None, length=epochs)

    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        placed = jax.tree.map(jnp.asarray, (weights, x, y))
    return lambda: np.asarray(run(*placed, epochs=epochs)[1]).T
