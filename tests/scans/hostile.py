"""Reads the files that it is told, one after the other, within a gigabyte and seconds; see test_hostile.py.

python hostile.py FILE ...            prints a line for each: "ok", or the refusal's text
python hostile.py --flip N FILE ...   the same of each with random bytes of it changed, N times
"""

import resource
import signal
import sys
from pathlib import Path

import numpy as np

from ptycho.errors import DataError
from ptycho.scans import faults, formats
from ptycho.scans.inspect import inspect

MEMORY, SECONDS = 2**30, 10


def told(path):
    """What a study and what `inspect` say of a file; the first must be a DataError, the second never raises."""
    # of the processor's time: what else runs on the machine is no fault of the file's
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        inspect(path)
        faults.ready(formats.read(path))[0].rawdata()
    except DataError as error:
        return str(error)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return "ok"


def flipped(path, number):
    whole = path.read_bytes()
    for seed in range(number):
        rng = np.random.default_rng(seed)
        end = len(whole) if seed % 2 else min(len(whole), 4096)  # headers are at the beginning
        content = bytearray(whole)
        for place in rng.integers(0, end, rng.integers(1, 9)):
            content[place] = rng.integers(0, 256)
        path.write_bytes(bytes(content))
        yield path


if __name__ == "__main__":
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    flip = sys.argv[1] == "--flip"
    files = [Path(word) for word in sys.argv[3 if flip else 1 :]]
    for file in files:
        for changed in flipped(file, int(sys.argv[2])) if flip else [file]:
            print(told(changed).replace("\n", " & "), flush=True)
