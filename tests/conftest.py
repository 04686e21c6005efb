"""What all tests share: a quiet TensorFlow on few threads, and property tests that draw the same examples each time."""

import os
import sys

from ptycho.run.environment import xla_flags

# what a test compiles, the next one and the next run find; using that cache is logged as an error, hence the level
os.environ.setdefault("TF_XLA_FLAGS", xla_flags())
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "2")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

import pytest
from hypothesis import settings

# no deadline: the first call of a TensorFlow operation takes as long as a thousand of the next
settings.register_profile("ptycho", deadline=None, derandomize=True, database=None)
settings.load_profile("ptycho")


@pytest.fixture(autouse=True)
def the_same_initial_weights():
    """Networks that a test builds without a seed of its own start alike in every run."""
    if keras := sys.modules.get("keras"):  # most tests need none: they are not made to wait for its import
        keras.utils.set_random_seed(0)
