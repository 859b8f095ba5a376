"""What a metric is: its name, direction, unit, what it needs and costs, and how it depends on the number of images."""

from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trainables.config.trial import TrialConfig
    from trainables.evaluation.held_out import HeldOut
    from trainables.evaluation.real import Reference, References

Direction = Literal["minimize", "maximize"]
Bias = Literal["none", "falls", "rises"]
Growth = Literal["samples", "pairs"]
"""What a metric's time grows with: the generated images alone, or the pairs of them and the real images."""
Scale = Literal["log", "raw"]
"""On which differences compare: as ratios where the spread over seeds grows with the value, or as they are."""
RAW_SUFFIX = "_raw"


@dataclass(frozen=True)
class Samples:
    """Generated images: `compute(features, real)` with their features [n, d] and the `Reference` of one split's real images."""

    extractor: str
    """A name in `trainables.evaluation.features.registry`."""
    against: Literal["train", "heldout", "both"]
    """`compute` of both splits is given the `References` instead."""


@dataclass(frozen=True)
class NetworkAlone:
    """No images: `compute(grid, network, trial)` with the held-out images of the trial's kind, and fixed noise and t where it
    knows those."""

    of: str = "flow"
    """The trial's `error_kind` that it is of: a kind of `diffusion.path` or of `method`. Of others there is no such score."""


@dataclass(frozen=True)
class Metric:
    """One metric."""

    name: str
    direction: Direction
    unit: str
    about: str
    """What it says, for people."""
    needs: Samples | NetworkAlone
    compute: str
    """`module:function`, imported on first use; the function returns a float."""
    cost: Growth = "samples"
    blind_to: frozenset[str] = frozenset()
    """Axes along which its values do not compare; `about` says why."""
    in_tables: bool = True
    """Whether it has a column in the tables for people."""
    bias: Bias = "none"
    """What its mean does as the number of generated images grows, all else equal."""
    least_n: int = 2
    """Fewer generated images than this give no such score."""
    least_heldout: int = 1
    """Fewer held-out images than this give no such score of a network."""
    replicates: str | None = None
    """`module:function` of (features, real, groups) that leaves each group of images out, quicker than computing it anew."""
    scale: Scale = "raw"
    plain: str = ""
    """What it says to who has never heard of it, where sweeps are judged by it."""
    judges: bool = False
    """Whether it speaks in verdicts on other metrics: where its interval says the contrary, there is none."""

    def __post_init__(self) -> None:
        """ValueError: the name ends as those of scores of raw weights do."""
        if self.name.endswith(RAW_SUFFIX):
            rule = f"a metric's name must not end in {RAW_SUFFIX}, which stands for the weights without averaging"
            raise ValueError(f"{rule}, got {self.name!r}; rename it")

    @property
    def in_plain_words(self) -> str:
        """What it says, and which end is the better one."""
        return f"{self.plain or self.about}; {'lower' if self.direction == 'minimize' else 'higher'} is better"

    def loss(self, value: float) -> float:
        """The value, or its negative where higher is better: lower is always better."""
        return loss(value, direction=self.direction)

    def of_samples(self, features: "Tensor", real: "References") -> float:
        """The metric of generated images' features [n, d] against the real ones'. It must need samples."""
        return float(resolve_name(self.compute)(features, self._side(real)))

    def without_each(self, features: "Tensor", real: "References", groups: "Tensor") -> list[float]:
        """The metric without each group: `groups` int64 [n] numbers them from 0; those of -1 are in none and always stay."""
        count = int(groups.max()) + 1
        if self.replicates is not None:
            return [float(value) for value in resolve_name(self.replicates)(features, self._side(real), groups)]
        return [self.of_samples(features[groups != group], real) for group in range(count)]

    def _side(self, real: "References") -> "Reference | References":
        assert isinstance(self.needs, Samples), f"{self.name} needs no samples"
        if self.needs.against == "both":
            return real
        return real.train if self.needs.against == "train" else real.heldout

    def of_network(self, grid: "HeldOut", network: "nn.Module", trial: "TrialConfig") -> float:
        """The metric of a network as it is now. It must need the network alone."""
        assert isinstance(self.needs, NetworkAlone), f"{self.name} needs samples"
        return float(resolve_name(self.compute)(grid, network, trial))


def loss(value: float, *, direction: Direction) -> float:
    """The one rule of which way is better: of two losses the lower."""
    return value if direction == "minimize" else -value
