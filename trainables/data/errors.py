"""The error of a trial's images, and of the checkpoint that it is to go on from."""


class DataError(ValueError):
    """The images or the checkpoint do not fit the trial. The user can mend it: the message is shown without a traceback."""
