"""Keras 3 and Keras 2 under the same names. Where both take the same call, the engine uses that and nothing is here."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

from gradparity.adapters.tensorflow_engine import tensorflow


@functools.cache
def keras() -> Any:
    """Import Keras. Of Keras 2 it is ``tf.keras``: its own package shows the optimizers of before TensorFlow 2.11."""
    import keras

    return keras if hasattr(keras, "ops") else tensorflow().keras


@functools.cache
def ops() -> Any:
    """Return ``keras.ops``; for Keras 2, those of its functions that the engine uses."""
    if hasattr(keras(), "ops"):
        return keras().ops
    tf = tensorflow()
    return SimpleNamespace(
        binary_crossentropy=keras().backend.binary_crossentropy,
        convert_to_tensor=tf.convert_to_tensor,
        mean=tf.reduce_mean,
        square=tf.square,
        sum=tf.reduce_sum,
    )


def keras_version() -> str:
    """Return the version of Keras, which ``tf.keras`` does not always tell."""
    import keras

    return str(keras.__version__)
