"""JAX: the derivative of ``jax.nn.leaky_relu`` at 0 is 1, not the slope. Needs JAX.

``leaky_relu(x) = where(x >= 0, x, negative_slope * x)``; torch and TensorFlow take the slope at 0.
"""

import jax

print("leaky_relu'(0) with slope 0.1:", float(jax.grad(lambda x: jax.nn.leaky_relu(x, 0.1))(0.0)))
