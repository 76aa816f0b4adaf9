"""The one exception that means "the input was wrong", so that command lines can answer it with a sentence and exit code 2."""


class InputError(ValueError):
    """Bad input from outside: the message is one sentence that says what was wrong, what arrived and how to mend it."""
