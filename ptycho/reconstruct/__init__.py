"""From counts to an object. TensorFlow is loaded here, without its lines, before any module that computes with it."""

from ptycho.cores import start_quietly

start_quietly()
