"""Keras on JAX: SimpleRNN in float64 raises a TypeError; LSTM and GRU do not. Needs Keras, JAX and NumPy.

Its activation, tanh, gives float32 for float64: https://github.com/keras-team/keras/issues/23704
"""

import os

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np

jax.config.update("jax_enable_x64", True)

for layer in (keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN):
    try:
        print(layer.__name__, layer(units=3, dtype="float64")(np.ones((2, 4, 3))).dtype)
    except TypeError as error:
        print(layer.__name__, next(line for line in str(error).splitlines() if "float32" in line))
