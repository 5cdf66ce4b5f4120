"""JAX, and Keras on it: dot_product_attention takes its softmax in float32, also for float64. Needs JAX and NumPy.

Run without a name, or with ``keras``, which has a copy of JAX's function. Upstream, where it is named in the review:
https://github.com/jax-ml/jax/pull/21371
"""

import os
import sys

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

if sys.argv[1:] == ["keras"]:
    os.environ["KERAS_BACKEND"] = "jax"
    import keras

    keras.config.set_floatx("float64")
    attention = keras.ops.dot_product_attention
else:
    attention = jax.nn.dot_product_attention

rng = np.random.default_rng(0)
q, k, v = (rng.standard_normal((1, 5, 1, 4)) for _ in range(3))
S = q[0, :, 0] @ k[0, :, 0].T / 2
P = np.exp(S - S.max(1, keepdims=True))
exact = P / P.sum(1, keepdims=True) @ v[0, :, 0]
found = np.asarray(attention(*map(jax.numpy.asarray, (q, k, v))))[0, :, 0]
print(f"{found.dtype}: {np.abs(found - exact).max():.1e} off")
