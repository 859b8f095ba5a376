"""EDM's grid of noise levels, sigma over the image's own scale (arXiv 2206.00364, equation 5). Free of torch.

sigma = (1 - t) / t in our t, of noise whose standard deviation is 1.
"""

LARGEST, SMALLEST = 80.0, 0.002
RHO = 7
"""How much closer levels of little noise lie."""
FIRST_ROOT, LAST_ROOT = LARGEST ** (1 / RHO), SMALLEST ** (1 / RHO)
"""The roots between which levels lie evenly."""


def sigmas(count: int) -> list[float]:
    """So many levels, from the noisiest."""
    return [sigma_at(number, steps=max(1, count - 1)) for number in range(count)]


def sigma_at(number: int, *, steps: int) -> float:
    """A level of the grid with so many steps, from 0, the noisiest."""
    step = (LAST_ROOT - FIRST_ROOT) / steps
    return float((FIRST_ROOT + number * step) ** RHO)
