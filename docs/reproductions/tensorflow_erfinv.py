"""TensorFlow: float32 erfinv of numbers near 0 and near 1 loses its digits. Needs TensorFlow and NumPy.

Upstream: https://github.com/tensorflow/tensorflow/issues/121629 (near 1). The float64 function of TensorFlow, at the
same numbers, is taken for exact here.
"""

import numpy as np
import tensorflow as tf

for x in np.array([1e-3, 1e-5, 1e-7, 1e-9, 0.999999], np.float32):
    exact = float(tf.math.erfinv(tf.constant(np.float64(x))))
    found = float(tf.math.erfinv(tf.constant(x)))
    print(f"erfinv({x:.7g}) = {found:.8g}, exact {exact:.8g}: {abs(found / exact - 1):.1e} off")
