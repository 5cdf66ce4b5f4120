"""torch: the derivative of digamma, which is polygamma(1), has 10 digits in float64. Needs torch and NumPy.

https://github.com/pytorch/pytorch/pull/4399, which brought it, says "at least 5 digits".
"""

import numpy as np
import torch

x = np.array([0.3, 1.5, 3.0, 10.0])
given = torch.tensor(x, requires_grad=True)
torch.digamma(given).sum().backward()
# The sum of 1/(x + k)^2, the rest of it from 100 on by its asymptotic series.
y = x + 100
exact = (
    np.sum(1 / (x + np.arange(100)[:, None]) ** 2, axis=0) + 1 / y + 1 / (2 * y**2) + 1 / (6 * y**3) - 1 / (30 * y**5)
)
for at, found, value in zip(x, given.grad.numpy(), exact, strict=True):
    print(f"trigamma({at}): {found:.16g}, exact {value:.16g}: {abs(found / value - 1):.0e} off")
