"""Keras on TensorFlow: the derivative of celu at 0 is 2, on both sides of it 1. Needs Keras, TensorFlow and NumPy."""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import tensorflow as tf

x = tf.constant([-1e-6, 0.0, 1e-6])
with tf.GradientTape() as tape:
    tape.watch(x)
    y = keras.activations.celu(x)
print("x          ", x.numpy())
print("celu(x)    ", y.numpy())
print("derivative ", tape.gradient(y, x).numpy(), " (e^x up to 0, 1 from there)")
