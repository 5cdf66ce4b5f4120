"""Keras since 3.12.0: float64 operations that compute in float32 on torch and on JAX. Needs NumPy, Keras, the backend.

Run with the name of the backend: ``python keras_float64.py torch``, or ``jax``. On TensorFlow each line is exact.
Upstream: https://github.com/keras-team/keras/issues/23704
"""

import os
import sys

os.environ["KERAS_BACKEND"] = sys.argv[1] if len(sys.argv) > 1 else "torch"
if os.environ["KERAS_BACKEND"] == "jax":
    import jax

    jax.config.update("jax_enable_x64", True)

import keras
import numpy as np

keras.config.set_floatx("float64")
x = np.array([[0.1, 0.2]])
X = keras.ops.convert_to_tensor(x)
for name, value, exact in (
    ("matmul", keras.ops.matmul(X, keras.ops.transpose(X)), x @ x.T),
    ("mean", keras.ops.mean(X), x.mean()),
    ("tanh", keras.ops.tanh(X), np.tanh(x)),
):
    got = keras.ops.convert_to_numpy(value)
    print(f"{name:6} returns {got.dtype}; relative error {np.max(np.abs(got / exact - 1)):.1e}")
