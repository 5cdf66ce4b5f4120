"""TensorFlow: the gradient of cumprod is 0 at and after an element that is 0. Needs TensorFlow and NumPy.

Upstream: https://github.com/tensorflow/tensorflow/issues/119430
"""

import numpy as np
import tensorflow as tf

x = np.array([2.0, 0.0, 3.0, 4.0])
given = tf.constant(x)
with tf.GradientTape() as tape:
    tape.watch(given)
    y = tf.reduce_sum(tf.math.cumprod(given))
exact = [sum(np.prod(np.delete(x[: j + 1], i)) for j in range(i, len(x))) for i in range(len(x))]
print("TensorFlow", tape.gradient(y, given).numpy())
print("exact     ", np.array(exact))
