"""What shows that images were read or written wrongly: counts that are taken while they go by."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Self

from trainables.config.fields import Frozen, NonNegativeInt, and_more, counted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_AT_ONCE = 256


class PixelCounts(Frozen):
    """Counts over some images; those of several parts add up. Free of numpy until images are counted."""

    black: NonNegativeInt = 0
    """Images that are black all over."""
    constant: NonNegativeInt = 0
    """Images of one colour, the black ones too."""
    brightest: NonNegativeInt = 0
    """The largest value of any pixel."""

    @classmethod
    def of(cls, images: "NDArray[np.uint8]") -> Self:
        """Of images uint8 [N, H, W, C], which are looked at some at a time: they may be mapped."""
        return cls.joined(cls._of_some(images[start : start + _AT_ONCE]) for start in range(0, len(images), _AT_ONCE))

    @classmethod
    def _of_some(cls, images: "NDArray[np.uint8]") -> Self:
        flat = images.reshape(len(images), -1, images.shape[3])
        return cls(
            black=int((~flat.any((1, 2))).sum()),
            constant=int((flat == flat[:, :1]).all((1, 2)).sum()),
            brightest=int(flat.max()),
        )

    @classmethod
    def joined(cls, parts: Iterable[Self]) -> Self:
        """Of all parts."""
        black = constant = brightest = 0
        for part in parts:
            black, constant = black + part.black, constant + part.constant
            brightest = max(brightest, part.brightest)
        return cls(black=black, constant=constant, brightest=brightest)

    def warnings(self) -> list[str]:
        """A line for each thing that is probably a mistake."""
        found = [
            (bool(self.black), f"{counted(self.black, 'image')} all black"),
            (self.constant > self.black, f"{counted(self.constant - self.black, 'image')} of one colour"),
            (self.brightest == 1, "no value is above 1: pixels of 0..1 were probably stored as integers; multiply by 255"),
        ]
        return [text for holds, text in found if holds]


def class_warnings(names: Sequence[str], *, counts: Sequence[int], train_counts: Sequence[int]) -> list[str]:
    """A line where classes have no image, or none to train on."""
    empty = [name for name, count in zip(names, counts, strict=True) if not count]
    untrained = [name for name, count, left in zip(names, counts, train_counts, strict=True) if count and not left]
    lines = [(empty, "no image of class"), (untrained, "no training image of class")]
    return [f"{words} {', '.join(found[:4])}{and_more(len(found[4:]), 'class')}" for found, words in lines if found]
