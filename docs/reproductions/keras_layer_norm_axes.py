"""Keras 3.11 and later on torch: LayerNormalization over axes 1 and 2 of four raises an error. Needs Keras, NumPy.

Run with the name of the backend: ``python keras_layer_norm_axes.py torch``; ``jax`` and ``tensorflow`` get it right.
"""

import os
import sys

os.environ["KERAS_BACKEND"] = sys.argv[1] if len(sys.argv) > 1 else "torch"

import keras
import numpy as np

x = np.arange(2 * 5 * 7 * 6, dtype=np.float32).reshape(2, 5, 7, 6) % 11
for axes in ([2, 3], [1, 2]):
    y = (x - x.mean(tuple(axes), keepdims=True)) / np.sqrt(x.var(tuple(axes), keepdims=True) + 1e-3)
    try:
        found = keras.ops.convert_to_numpy(keras.layers.LayerNormalization(axis=axes)(x))
        print(f"axes {axes}: {np.abs(found - y).max():.1e} off the formula")
    except RuntimeError as error:
        message = str(error).splitlines()[2].strip("\x1b[01m")
        print(f"axes {axes}: {message}")
