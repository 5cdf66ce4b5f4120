"""TensorFlow: ``tf.nn.leaky_relu`` rounds its slope to float32, also for float64 tensors. Needs NumPy and TensorFlow.

The op's attribute ``alpha`` is a float32: https://www.tensorflow.org/api_docs/python/tf/raw_ops/LeakyRelu
"""

import numpy as np
import tensorflow as tf

value = tf.nn.leaky_relu(tf.constant([-1.0], tf.float64), alpha=0.1).numpy()[0]
print("leaky_relu(-1.0, alpha=0.1) in float64:", repr(float(value)), "instead of -0.1")
print("float32(0.1) as float64:               ", repr(float(np.float32(0.1))))
