"""What is wrong with a trial's images, or with the checkpoint that it is to go on from."""


class DataError(ValueError):
    """What a trial is given does not fit it: told in words, and no fault of the program's."""
