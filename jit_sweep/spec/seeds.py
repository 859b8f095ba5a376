"""The seeds of an arm, as a sweep file has them."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from trainables.config.fields import NonNegativeInt, PositiveInt

MOST_SEEDS = 1000
"""Of one cell or proposal."""


def _seed_list(seeds: Any) -> Any:
    count = seeds if isinstance(seeds, int) else len(seeds) if isinstance(seeds, list | tuple) else 0
    if count > MOST_SEEDS:
        raise ValueError(f"`seeds` must be at most {MOST_SEEDS}, got {count}")
    if isinstance(seeds, int) and not isinstance(seeds, bool) and seeds < 1:
        raise ValueError(f"`seeds` must be a positive count or a list of seeds, got {seeds}")
    return tuple(range(seeds)) if isinstance(seeds, int) and not isinstance(seeds, bool) else seeds


def _distinct_seeds(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if not seeds:
        raise ValueError("`seeds` must be a positive count or a list of seeds, got none")
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"`seeds` must not repeat, got {list(seeds)}")
    return seeds


SeedCount = Annotated[PositiveInt, Field(le=MOST_SEEDS)]
Seeds = Annotated[
    tuple[NonNegativeInt, ...],
    BeforeValidator(_seed_list, json_schema_input_type=SeedCount | tuple[NonNegativeInt, ...]),
    AfterValidator(_distinct_seeds),
]
