"""The one exception that means "the input was wrong": a command line answers it with its sentence and exit code 2."""


class InputError(ValueError):
    """Bad input from outside: the message is one sentence that says what was wrong, what arrived and how to mend it."""
