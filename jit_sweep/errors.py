"""The one exception that means: the user can mend this."""


class UserError(Exception):
    """A mistake of the user's, told as rule, value and remedy; the command line prints it and exits with 2."""
