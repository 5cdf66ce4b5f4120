"""Probes of JAX that are no function of JAX: small compositions that a compiler has got wrong, as users write them."""

from __future__ import annotations

from typing import Any


def squared_rows(matrix: Any, x: Any) -> Any:
    """Return ``|M x_i|²`` of every row, a product by ``vmap`` that is squared and summed: jax-ml/jax#39103.

    `matrix` is ``(n, n)``, `x` ``(m, n)``; the result ``(m,)``.
    """
    import jax
    import jax.numpy as jnp

    return jax.vmap(lambda row: jnp.sum((matrix @ row) ** 2))(x)


def mean_of_forms(w: Any, x: Any) -> Any:
    """Return the mean over 10⁶ rows of ``dᵀw + dᵀ0d``, ``d = 1 − x``, a form with a zero matrix: openxla/xla#13054.

    `w` and `x` are ``(n,)``; the result is one number.
    """
    import jax
    import jax.numpy as jnp

    def form(y: Any) -> Any:
        d = y - x
        return jnp.dot(d, w) + jnp.dot(jnp.dot(d, jnp.zeros((d.size, d.size), d.dtype)), d)

    return jnp.mean(jax.vmap(form)(jnp.ones((10**6, x.size), x.dtype)))


def tempered_softmax(x: Any) -> Any:
    """Return ``softmax(x/T)`` with a T that is no power of two, where a compiler fuses x/T into ``x/T − max``."""
    import jax

    return jax.nn.softmax(x / 0.7, axis=-1)
