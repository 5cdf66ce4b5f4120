"""torch and JAX: the derivative of log_ndtr, far on the negative side, is not close. Needs NumPy and one of them.

Run with ``torch`` or ``jax``. Both divide exp(-x^2/2) by exp(log_ndtr(x)), as exp(-x^2/2 - log_ndtr(x)): two numbers
of size x^2/2, whose difference has an error of u x^2, are subtracted, and their difference is exponentiated.
"""

import sys

import numpy as np

x = np.array([-50.0, -1e3, -1e4, -1e5])
# phi(x)/Phi(x), with Phi by its asymptotic series.
exact = -x / (1 - 1 / x**2 + 3 / x**4 - 15 / x**6 + 105 / x**8)
for dtype in ("float32", "float64"):
    if sys.argv[1:] == ["jax"]:
        import jax

        jax.config.update("jax_enable_x64", True)
        found = np.array(jax.grad(lambda v: jax.scipy.special.log_ndtr(v).sum())(jax.numpy.array(x, dtype)))
    else:
        import torch

        given = torch.tensor(x, dtype=getattr(torch, dtype), requires_grad=True)
        torch.special.log_ndtr(given).sum().backward()
        found = given.grad.numpy()
    for at, value, right in zip(x, found, exact, strict=True):
        print(f"{dtype}, at {at:g}: {value:.9g}, exact {right:.9g}: {abs(value / right - 1):.0e} off")
