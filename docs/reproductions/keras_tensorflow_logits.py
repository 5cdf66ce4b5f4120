"""Keras on TensorFlow: cross-entropy takes the logits of whatever activation came last for those of its own.

``softmax`` and ``sigmoid`` leave their input on their output as ``_keras_logits``; ``binary_crossentropy`` takes it for
the logits of a sigmoid, ``categorical_crossentropy`` for those of a softmax (``backend/tensorflow/nn.py``,
``_get_logits``). So binary cross-entropy of a softmax, and categorical cross-entropy of a sigmoid, are other functions
than on the JAX and torch backends. Needs NumPy, Keras and TensorFlow.
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

z, y = np.array([[2.0, -1.0]], dtype="float32"), np.array([[1.0, 0.0]], dtype="float32")
for activation, loss in (
    ("softmax", keras.losses.binary_crossentropy),
    ("sigmoid", keras.losses.categorical_crossentropy),
):
    a = keras.activations.get(activation)(tf.constant(z))
    same_numbers = tf.constant(np.array(a))
    print(f"{loss.__name__} of {activation}(z):              {float(loss(y, a)[0]):.6f}")
    print(f"{loss.__name__} of the same numbers as an array: {float(loss(y, same_numbers)[0]):.6f}")
