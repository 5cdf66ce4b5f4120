"""torch and JAX: the derivative of sinc near 0 is 0, or anything. Needs NumPy and one of them.

Run with ``torch`` or ``jax``. It is (cos(pi x) - sin(pi x)/(pi x))/x, a difference of two numbers that are nearly 1.
Upstream: https://github.com/jax-ml/jax/issues/34139
"""

import sys

import numpy as np

x = np.array([1e-2, 1e-4, 1e-6, 1e-30], np.float32)
exact = -(np.pi**2) * x.astype(float) / 3 * (1 - (np.pi * x.astype(float)) ** 2 / 10)
if sys.argv[1:] == ["jax"]:
    import jax

    found = np.array(jax.grad(lambda v: jax.numpy.sinc(v).sum())(x))
else:
    import torch

    given = torch.tensor(x, requires_grad=True)
    torch.sinc(given).sum().backward()
    found = given.grad.numpy()
for at, value, right in zip(x, found, exact, strict=True):
    print(f"sinc'({at:g}): {value:.6g}, exact {right:.6g}")
