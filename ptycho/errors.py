"""What a user is told: the errors whose message names the input, what was found and what is accepted.

Each has its ``advice``, what to try against it, for the report of a run that it ended.
"""


class Plain:
    """Of errors whose message is all there is to say: a notebook shows it in place of a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class TrainingError(RuntimeError):
    """A training that did not end with the finite losses of all its epochs."""

    advice = "Try a smaller LEARNING_RATE. Where a measured scan is fitted, see what `ptycho inspect` says of its file."


class ConfigError(Plain, ValueError):
    """A parameter whose value is not accepted; the message names it, what was found and what is accepted."""

    advice = "Correct the input that the message names."


class DataError(Plain, ValueError):
    """A scan that breaks the contract; the message names the file and key, what was found and what is expected."""

    advice = "Correct the input that the message names: `ptycho inspect` says the same of the file, in seconds."


class NonFiniteError(ValueError):
    """A reconstruction holds NaN or infinity: training or optimisation diverged."""

    advice = "Try a smaller LEARNING_RATE."


class Interrupted(Plain, KeyboardInterrupt):
    """Somebody stopped a training; the message says after which epoch, and what comes next."""


def expect(holds: object, message: str) -> None:
    """Raise ValueError unless it ``holds``; the message names the input, what was found and what is expected."""
    if not holds:
        raise ValueError(message)
