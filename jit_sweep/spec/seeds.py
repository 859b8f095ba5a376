"""The seeds of an arm, as a sweep file has them."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from trainables.config.fields import Frozen, NonNegativeInt, PositiveInt

MOST_SEEDS = 1000
"""Of one cell or proposal."""
LEAST_RACING, MOST_RACING = 3, 64
"""Of fewer seeds there is no verdict, so that the first look would see nothing."""


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


class RacingSeeds(Frozen):
    """Seeds that go first to the arms of questions that are not decided yet: all arms get `min`, and after each further seed
    it is looked at, by boundaries that are fixed beforehand."""

    min: Annotated[int, Field(ge=LEAST_RACING, le=MOST_RACING)]
    """Seeds of every arm."""
    max: Annotated[int, Field(ge=LEAST_RACING, le=MOST_RACING)]
    """The most that an arm gets: one without an open question gets no more."""

    @model_validator(mode="after")
    def there_is_more_than_one_look(self) -> Self:
        if self.max <= self.min:
            rule = "`max` must be above `min`"
            raise ValueError(f"{rule}, got min={self.min}, max={self.max}; for equal seeds write seeds: {self.min}")
        return self

    @property
    def looks(self) -> tuple[int, ...]:
        """Counts of seeds after which the questions are looked at."""
        return tuple(range(self.min, self.max + 1))


def _how_given(value: Any) -> str:
    return "race" if isinstance(value, dict | RacingSeeds) else "seeds"


PlannedSeeds = Annotated[
    Annotated[Seeds, Tag("seeds")] | Annotated[RacingSeeds, Tag("race")],
    Discriminator(_how_given),
]
"""Of a stage that is planned whole: all of them fixed, or a race."""


def first_seeds(seeds: tuple[int, ...] | RacingSeeds) -> tuple[int, ...]:
    """The seeds that every arm gets."""
    return tuple(range(seeds.min)) if isinstance(seeds, RacingSeeds) else seeds
