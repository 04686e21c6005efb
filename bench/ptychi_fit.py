"""A fit by pty-chi 2.2 in the Python that has it: needs numpy, torch and ptychi, and nothing of this package.

    python ptychi_fit.py given.npz taken.npz '{"engine": "LSQML", "noise_model": "GAUSSIAN", "budgets": [9], "seed": 1}'

``given.npz`` holds the arguments of a PtychographyTask. Into ``taken.npz`` go, after each of ``budgets`` epochs, the
object (H, W) and the seconds since the task began to be built, and in the end the positions (M, 2), y first. LSQML has
the settings of pty-chi's own example (its tests/test_2d_ptycho_lsqml.py). ePIE takes the full step of Maiden &
Rodenburg (Ultramicroscopy 109 (2009) 1256) over small batches: of batches of 5 to 100 and steps of 0.1 to 1 the fastest
to resolve, and pty-chi's example (0.1 over 100) the slowest. The probe is held, as it is for the other methods. With a
``limit`` of their single steps, in pixels, positions are refined from the tenth epoch on, and the probe too.
"""

import json
import os
import sys
import time

import numpy as np
import ptychi.api as api
import torch
from ptychi.api.task import PtychographyTask

STEP = {"LSQML": 1.0, "EPIE": 1.0}
BATCH_SIZE = {"LSQML": 100, "EPIE": 5}


def main(given: str, taken: str, words: str) -> None:
    settings = json.loads(words)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "0")) or os.cpu_count() or 1)
    arrays = np.load(given)
    started = time.perf_counter()
    options = {"LSQML": api.LSQMLOptions, "EPIE": api.EPIEOptions}[settings["engine"]]()
    options.data_options.data = arrays["diffraction_data"].astype(np.float32)
    if "valid_pixel_mask" in arrays:
        options.data_options.valid_pixel_mask = arrays["valid_pixel_mask"]
    options.object_options.initial_guess = torch.from_numpy(arrays["object_data"])
    options.object_options.optimizer = api.Optimizers.SGD
    options.object_options.step_size = STEP[settings["engine"]]
    if settings["engine"] == "EPIE":
        options.object_options.alpha = 1.0
    else:
        options.reconstructor_options.noise_model = api.NoiseModels[settings["noise_model"]]
    options.probe_options.initial_guess = torch.from_numpy(arrays["probe_data"])
    limit = settings.get("limit")
    options.probe_options.optimizable = limit is not None
    options.probe_position_options.position_y_px = arrays["probe_position_y_px"]
    options.probe_position_options.position_x_px = arrays["probe_position_x_px"]
    options.probe_position_options.optimizable = limit is not None
    if limit is not None:
        options.probe_options.optimizer = api.Optimizers.SGD
        options.probe_options.step_size = 1.0
        options.probe_position_options.optimizer = api.Optimizers.SGD
        options.probe_position_options.step_size = 1.0
        options.probe_position_options.optimization_plan.start = 10
        options.probe_position_options.correction_options.update_magnitude_limit = limit
    options.reconstructor_options.batch_size = BATCH_SIZE[settings["engine"]]
    options.reconstructor_options.num_epochs = max(settings["budgets"])
    options.reconstructor_options.random_seed = settings["seed"]
    task = PtychographyTask(options)
    seconds, objects, done = [], [], 0
    elapsed = time.perf_counter() - started
    for budget in settings["budgets"]:
        started = time.perf_counter()
        task.run(budget - done)
        elapsed += time.perf_counter() - started
        done = budget
        seconds.append(elapsed)
        objects.append(task.get_data_to_cpu("object", as_numpy=True)[0])
    positions = task.get_data_to_cpu("probe_positions", as_numpy=True)
    np.savez(taken, seconds=seconds, objects=objects, positions=positions)


if __name__ == "__main__":
    main(*sys.argv[1:])
