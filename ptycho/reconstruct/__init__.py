"""From counts to an object. Modules that compute with TensorFlow are in here: it is told to start without its lines."""

from ptycho.cores import start_quietly

start_quietly()
