"""TensorFlow on the CPU: in a `tf.function`, relu(X W + b) in float32 is 0 where X W + b is NaN. Needs TensorFlow.

Grappler makes one operation of the three, and oneDNN's kernel for it hides the NaN; eagerly, under XLA, in float64 and
without the bias it stays. TensorFlow uses oneDNN by default on some processors only.
"""

import os

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import tensorflow as tf


def layer(X, W, b):
    """Return a dense layer's activations."""
    return tf.nn.relu(X @ W + b)


for dtype in ("float32", "float64"):
    X, W, b = (tf.constant(x, dtype) for x in ([[1.0, 2.0]], [[float("nan"), 1.0], [1.0, 1.0]], [0.0, 0.0]))
    compiled, xla = tf.function(layer), tf.function(layer, jit_compile=True)
    for name, run in (("eager", layer), ("tf.function", compiled), ("XLA", xla)):
        print(dtype, name, run(X, W, b).numpy())
