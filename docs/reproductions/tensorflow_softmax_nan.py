"""TensorFlow on the CPU: ``softmax`` of float32 hides a NaN, in float64 it does not. Needs TensorFlow.

The elements beside the NaN (or an infinity) come out as 0, as if they had been computed; torch and JAX give NaN. It is
oneDNN's kernel that does so, which TensorFlow uses by default on some processors only.
"""

import os

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import tensorflow as tf

for dtype in ("float32", "float64"):
    print(dtype, tf.nn.softmax(tf.constant([[float("nan"), 1.0, 2.0]], dtype)).numpy())
