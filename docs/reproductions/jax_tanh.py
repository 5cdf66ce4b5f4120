"""JAX 0.7.1: tanh in float64 on the CPU ends at 1 − 7·2⁻⁵³ instead of 1; right in 0.7.0 and 0.7.2.

So 1 − tanh² is 1.6e-15 where it should be 0, and whatever multiplies it is wrong by that: the gradient of gelu at 1e4.
Needs JAX and NumPy.
"""

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")

x = np.array([5.0, 20.0, 100.0, 1e4])
off = (np.asarray(jax.numpy.tanh(x)) - np.tanh(x)) / 2.0**-53
print(f"JAX {jax.__version__}: tanh of {x.tolist()} is off by {off.tolist()} units of 2^-53")
print(f"the derivative of gelu at 1e4 is {jax.jit(jax.grad(jax.nn.gelu))(1e4):.9f}; it should be 1")
