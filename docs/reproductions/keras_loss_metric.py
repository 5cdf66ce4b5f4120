"""Keras 3.2 and later: the loss that ``fit`` and ``train_on_batch`` return overflows where the loss itself does not.

It is multiplied by the batch size, added to a running sum, and divided by the number of samples.
Run with the name of the backend: ``python keras_loss_metric.py torch``, ``tensorflow`` or ``jax``. Needs Keras, NumPy.
"""

import os
import sys

os.environ["KERAS_BACKEND"] = sys.argv[1] if len(sys.argv) > 1 else "torch"

import keras
import numpy as np

model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")])
model.compile(optimizer=keras.optimizers.SGD(0.0), loss=keras.losses.MeanAbsoluteError(reduction="sum"))
for loss in (0.9 * 2.0**126, 1.1 * 2.0**126):
    X, Y = np.full((4, 1), loss / 4, np.float32), np.zeros((4, 1), np.float32)
    own = float(model.compute_loss(y=Y, y_pred=X))
    print(f"a loss of {own:.3g}, the sum over 4 samples: train_on_batch returns {model.train_on_batch(X, Y):.3g}")
