"""From counts to an object. TensorFlow is loaded here, before any module that computes with it, and without its lines."""

from ptycho.cores import start_quietly

start_quietly()
