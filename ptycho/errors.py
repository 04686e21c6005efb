"""What a user is told: the errors whose message names the input, what was found and what is accepted."""


class TrainingError(RuntimeError):
    """A training that did not end with the finite losses of all its epochs."""


class ConfigError(ValueError):
    """A parameter whose value is not accepted; the message names it, what was found and what is accepted."""


class DataError(ValueError):
    """A scan that breaks the contract; the message names the file and key, what was found and what is expected."""


class NonFiniteError(ValueError):
    """A reconstruction holds NaN or infinity: training or optimisation diverged."""


def expect(holds: object, message: str) -> None:
    """Raise ValueError unless it ``holds``; the message names the input, what was found and what is expected."""
    if not holds:
        raise ValueError(message)
