"""XLA on the CPU: float64 ``log1p`` is up to 128 ULP off between about -0.53 and -0.28. Needs NumPy and JAX.

Upstream: https://github.com/jax-ml/jax/issues/39707
"""

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

x = np.float64(-0.4141912978404546)
exact = np.log1p(np.longdouble(x))
for name, value in (("jax", float(jax.numpy.log1p(x))), ("numpy", float(np.log1p(x)))):
    print(f"{name:6} {value!r}  {abs(value - exact) / np.spacing(abs(float(exact))):.1f} ULP")
