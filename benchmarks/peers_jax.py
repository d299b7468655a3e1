"""The query's row in JAX, as its users write it: a jitted scan over the steps."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from attndyn.runtime.arrays import FloatArray

from .problems import Problem

jax.config.update("jax_enable_x64", True)


def steps(
    problem: Problem, tokens: FloatArray, start: dict[str, FloatArray], *, single: bool
) -> Callable[[int], list[float]]:
    """A function that makes so many steps and returns their losses; another number of steps compiles again."""
    dtype = jnp.float32 if single else jnp.float64
    masked = tokens.copy()
    masked[:, -1, -1] = 0.0
    x, y = jnp.asarray(masked, dtype), jnp.asarray(tokens[:, -1, -1], dtype)
    weights = {name: jnp.asarray(value, dtype) for name, value in start.items()}

    def loss(weights: dict[str, jax.Array], x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.mean((output(weights, x, problem.softmax) - y) ** 2)

    def step(
        weights: dict[str, jax.Array], data: tuple[jax.Array, jax.Array]
    ) -> tuple[dict[str, jax.Array], jax.Array]:
        value, slope = jax.value_and_grad(loss)(weights, *data)
        return jax.tree.map(
            lambda w, g: w - problem.learning_rate * g, weights, slope
        ), value

    def scan(
        weights: dict[str, jax.Array], x: jax.Array, y: jax.Array, count: int
    ) -> tuple[dict[str, jax.Array], jax.Array]:
        return jax.lax.scan(lambda w, _: step(w, (x, y)), weights, None, length=count)

    whole = jax.jit(scan, static_argnums=3)

    def run(count: int) -> list[float]:
        nonlocal weights
        weights, losses = whole(weights, x, y, count)
        return [float(loss_value) for loss_value in losses]

    return run


def output(weights: dict[str, jax.Array], x: jax.Array, softmax: bool) -> jax.Array:
    """The prediction of every prompt."""
    value, query = weights["value"], x[:, -1]
    if "key_query" in weights:
        lifted = jnp.einsum("hij,pj->phi", weights["key_query"], query)
    else:
        key, lower = (
            weights[name].reshape(len(value), -1, value.shape[1])
            for name in ("key", "query")
        )
        lifted = jnp.einsum(
            "hri,phr->phi", key, jnp.einsum("hrj,pj->phr", lower, query)
        )
    scores = jnp.einsum("pni,phi->phn", x, lifted)
    scores = jax.nn.softmax(scores, -1) if softmax else scores
    return jnp.sum(scores * jnp.einsum("pni,hi->phn", x, value), (1, 2))
