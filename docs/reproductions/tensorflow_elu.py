"""TensorFlow: elu and selu of small negative numbers are exp(x) - 1, and lose their digits. Needs TensorFlow, NumPy.

Upstream: https://github.com/tensorflow/tensorflow/issues/116943
"""

import numpy as np
import tensorflow as tf

for x in np.array([-1e-2, -1e-4, -1e-6, -1e-8], np.float32):
    exact = np.expm1(np.float64(x))
    found = float(tf.nn.elu(tf.constant(x)))
    print(f"elu({x:g}) = {found:.8g}, exact {exact:.8g}: {abs(found / exact - 1):.1e} off")
