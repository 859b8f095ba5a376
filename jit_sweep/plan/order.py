"""Which of the trials that are ready a lane takes next."""

from collections.abc import Collection


def turn(
    shape: str, *, kept: str, under_way: Collection[str], flops: int, seed: int, position: int
) -> tuple[bool, int, bool, int, int]:
    """A key to sort trials by. Those of the shape that the lane keeps go first, so that it compiles each shape once; then the
    longest, so that lanes end together; of these the shapes that no other lane trains, so that lanes share the shapes out.

    Args:
        shape: of the trial; empty where a lane keeps nothing of it.
        kept: the shape that the lane keeps; empty where it keeps nothing.
        under_way: shapes that lanes train now.
    """
    elsewhere = bool(shape) and shape != kept and shape in under_way
    return bool(kept) and shape != kept, -flops, elsewhere, seed, position
