"""The exception for a mistake that the user can correct."""


class UserError(Exception):
    """A mistake of the user's: rule, value and remedy. The command line prints it and exits with `ExitCode.MISTAKE`."""
