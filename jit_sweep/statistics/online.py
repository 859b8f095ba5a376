"""How sure a question of a long line of them must be, so that the whole line rarely errs."""


def alpha_of(number: int, *, alpha: float = 0.05) -> float:
    """alpha / (k (k + 1)) of the k-th question, from 1: all of them, however many and however chosen, spend at most alpha.

    Source: the union bound; the shares are those of the telescoping series, as in alpha spending (Foster and Stine 2008).
    """
    return alpha / (number * (number + 1))
