"""XLA on the CPU: ``|M x_i|²`` of every row, by vmap and jitted, is wrong in the last row. Needs NumPy and JAX.

jaxlib 0.10.2; right in 0.10.1, and eagerly. Upstream: https://github.com/jax-ml/jax/issues/39103
"""

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_platforms", "cpu")

i = np.arange(32769, dtype=np.float32)
x, M = np.stack([i, 0 * i, 0 * i], axis=1), np.eye(3, dtype=np.float32)


def squared_rows(x):
    """Return the squared length of each row of ``x Mᵀ``."""
    return jax.vmap(lambda row: jnp.sum((M @ row) ** 2))(x)


print("jax", jax.__version__)
print("eager", squared_rows(x)[-1], "jit", jax.jit(squared_rows)(x)[-1], "exact", 32768.0**2)
