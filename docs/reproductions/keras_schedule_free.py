"""Keras: ScheduleFreeAdamW makes other steps on TensorFlow and torch than it says. Needs Keras, NumPy and a backend.

Run with the name of the backend: ``python keras_schedule_free.py torch``; ``jax`` follows the formula.

``update_step`` keeps ``momentum_old = momentum.value`` for later, and then subtracts from ``momentum``. On JAX an array
never changes; on TensorFlow and torch ``value`` is the variable's own storage, so that ``momentum_old`` is the new one.
"""

import os
import sys

os.environ["KERAS_BACKEND"] = sys.argv[1] if len(sys.argv) > 1 else "torch"

import keras
import numpy as np

beta_1, beta_2, epsilon, rate = 0.9, 0.999, 1e-8, 0.1
start = np.array([1.0, -2.0], np.float32)
gradients = np.array([[0.5, -1.0], [0.25, 2.0], [-1.0, 0.5]], np.float32)


def formula(aliased):
    """Yield y after each step, as `update_step` has it; `aliased`, x is recovered from the new z."""
    y, z, v = start.astype(float), start.astype(float), np.zeros(2)
    for t, g in enumerate(gradients.astype(float), 1):
        z_old = z
        v = v + (1 - beta_2) * (g * g - v)
        z = z - rate * g / (np.sqrt(v / (1 - beta_2**t)) + epsilon)
        x = (y - (1 - beta_1) * (z if aliased else z_old)) / beta_1
        x = (1 - 1 / t) * x + z / t
        y = (1 - beta_1) * z + beta_1 * x
        yield y


variable = keras.Variable(start)
optimizer = keras.optimizers.ScheduleFreeAdamW(learning_rate=rate)
optimizer.build([variable])
print("step  Keras                  the formula            with the new z for the old")
for step, (g, y, aliased) in enumerate(zip(gradients, formula(False), formula(True), strict=True), 1):
    optimizer.apply([keras.ops.convert_to_tensor(g)], [variable])
    print(f"{step}     {keras.ops.convert_to_numpy(variable.value)}  {y.round(7)}  {aliased.round(7)}")
