"""Dose-response studies for ptychography: physics, networks, losses and metrics.

Importing the package is quick and loads neither NumPy nor TensorFlow; every module is imported by its own name::

    from ptycho.scans.rawdata import RawData
    from ptycho.model import create_model_with_gridsize
"""

from __future__ import annotations

__version__ = "0.1.0"
