"""Where the stages of a path begin: in the image's share, and on the clock that the network is told. Free of torch."""

import math

from trainables.config.path import StagedPath

STEPS = 1000
"""Of PixelFlow's clock."""


def starts(path: StagedPath) -> list[float]:
    """b of each stage: where noise that is white again at this stage's size leaves the image's share. A blur's borders need no
    noise, so its stages begin where those before end."""
    ends = [number / path.stages for number in range(path.stages)]
    if path.transform == "blur":
        return ends
    noisier = math.sqrt(1 - 1 / path.gamma)
    return [began / (began + (1 - began) * noisier) for began in ends]


def clock(path: StagedPath) -> list[int]:
    """At which of 0..999 each stage begins and the last one ends: in proportion to c - b."""
    lengths = [(number + 1) / path.stages - start for number, start in enumerate(starts(path))]
    before = [sum(lengths[:number]) / sum(lengths) for number in range(path.stages + 1)]
    return [min(int(share * STEPS), STEPS - 1) for share in before]
