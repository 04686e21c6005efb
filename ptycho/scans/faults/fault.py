"""One thing that is wrong with a scan, and what a study makes of it."""

from collections.abc import Callable
from dataclasses import dataclass, field

from ptycho.scans.formats.scan import Scan

REFUSED, DOUBTFUL, MENDED = ("refused", "doubtful", "mended")


@dataclass(frozen=True)
class Fault:
    """What is wrong, and with what.

    about   what it is about: patterns, positions, pixels, probe, mask, energy ...
    text    what was found, what is expected, and what to do
    weight  refused: no study is made of the scan. doubtful: a study goes on, and its verdict is DOUBTFUL at best.
            mended: a study corrects it and says so
    mend    the scan without the fault; None of one that is not mended, or that reading or fitting puts right
    """

    about: str
    text: str
    weight: str = REFUSED
    mend: Callable[[Scan], Scan] | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.about}: {self.text}"
