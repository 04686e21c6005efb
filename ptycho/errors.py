"""What a user is told: the errors whose message names the input, what was found and what is accepted.

Each has its ``advice``, what to try against it, for the report of a run that it ended.
"""


class TrainingError(RuntimeError):
    """A training that did not end with the finite losses of all its epochs."""

    advice = "Try a smaller LEARNING_RATE. Where a measured scan is fitted, see what `ptycho inspect` says of its file."


class ConfigError(ValueError):
    """A parameter whose value is not accepted; the message names it, what was found and what is accepted."""

    advice = "Correct the input that the message names."


class DataError(ValueError):
    """A scan that breaks the contract; the message names the file and key, what was found and what is expected."""

    advice = "Correct the input that the message names: `ptycho inspect` says the same of the file, in seconds."


class NonFiniteError(ValueError):
    """A reconstruction holds NaN or infinity: training or optimisation diverged."""

    advice = "Try a smaller LEARNING_RATE."


def expect(holds: object, message: str) -> None:
    """Raise ValueError unless it ``holds``; the message names the input, what was found and what is expected."""
    if not holds:
        raise ValueError(message)
