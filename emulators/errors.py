"""The one exception that means: what the user gave cannot be used."""

__all__ = ["InputError"]


class InputError(ValueError):
    """Bad input: a file, a recipe, a request.

    The message is one line that says what is wrong, where, how many, and what to do; the command
    line prints it as it is and exits with code 2.
    """
