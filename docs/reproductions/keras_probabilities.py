"""Keras: cross-entropy from probabilities clips them to [1e-7, 1 - 1e-7], and divides by their sum over classes.

Run with the name of the backend: ``python keras_probabilities.py torch``, or ``jax``. Needs Keras, NumPy, the backend.
"""

import os
import sys

os.environ["KERAS_BACKEND"] = sys.argv[1] if len(sys.argv) > 1 else "torch"

import keras
import numpy as np


def gradient(loss, a, y):
    """The gradient of the loss with respect to the probabilities, by the backend's own means."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(lambda p: loss(y, p).sum())(a)
    import torch

    p = torch.tensor(a, requires_grad=True)
    loss(torch.tensor(y), p).sum().backward()
    return p.grad.numpy()


one = np.ones((1, 1), np.float32)
for p in (1e-5, 1e-8):
    got = gradient(keras.losses.binary_crossentropy, np.float32([[p]]), one)
    print(f"binary, p = {p:g}, y = 1: {np.ravel(got)[0]:g}; by the formula {-1 / p:g}")
got = gradient(keras.losses.categorical_crossentropy, np.float32([[0.25, 0.75]]), np.float32([[0, 1]]))
print(f"categorical, p = (0.25, 0.75), y = (0, 1): {np.ravel(got)}; by the formula -y/p = (0, -1.3333)")
