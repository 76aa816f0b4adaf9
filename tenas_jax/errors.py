"""The one exception that means "the input was wrong": a command line answers it with its sentence and exit code 2."""

MOST = 1000  # characters of a message; what is given may be a file of millions
SHOWN = 450  # of its beginning, and of its end


class InputError(ValueError):
    """Bad input from outside: the message is one sentence that says what was wrong, what arrived and how to mend it."""

    def __init__(self, message: str):
        """Shortens in the middle what repeats long input."""
        if len(message) > MOST:
            message = f"{message[:SHOWN]} [... {len(message) - 2 * SHOWN} characters ...] {message[-SHOWN:]}"
        super().__init__(message)


class NotAnalyticError(InputError):
    """Something of a network has no kernel in closed form; the empirical NTK reads it."""

    def __init__(self, name: str, reason: str):
        """Names the operator, or the part of the network, and says why."""
        super().__init__(
            f"`analytic_ntk` has no closed form for operator {name!r} ({reason}); use `empirical_ntk` or `--ntk empirical`"
        )
        self.name, self.reason = name, reason
