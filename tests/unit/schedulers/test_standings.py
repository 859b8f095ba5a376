"""The standings that are kept up arm by arm are those of the same arms read anew."""

import random

from jit_sweep.schedulers.race import Race, Racer, Seed, Standing
from trainables.evaluation.metrics.registry import RUNG_METRIC

GATES = (8, 16, 32)
STANDINGS: tuple[Standing, ...] = ("coming", "ended", "lost")


def racer(name: int, draw: random.Random) -> Racer:
    """An arm with some values, of which several are equal, and some verdicts."""
    seeds = tuple(
        Seed(seed, draw.choice(STANDINGS), {gate: draw.choice((0.1, 0.2, 0.3)) for gate in range(draw.randint(0, 3))})
        for seed in range(draw.randint(1, 3))
    )
    verdicts = {gate: draw.random() < 0.8 for gate in range(draw.randint(0, 2))}
    return Racer(f"arm {name}", draw.randint(0, 3), GATES, draw.random() < 0.2, seeds, verdicts)


def shown(race: Race) -> list[object]:
    standings = race.standings
    gates = range(len(GATES))
    return [
        race.racers,
        race.gate_count,
        sorted(racer.name for racer in standings.ended()),
        [sorted(racer.name for racer in standings.awaiting(gate)) for gate in gates],
        [standings.is_coming(gate) for gate in gates],
        [standings.ranks(gate, RUNG_METRIC) for gate in gates],
        [standings.spreads(gate) for gate in gates],
    ]


def test_arms_that_change_one_after_the_other_stand_as_they_would_read_anew() -> None:
    draw = random.Random(7)
    race = Race("", tuple(racer(name, draw) for name in range(12)))
    for _ in range(150):
        shown(race)  # from now on every order is kept up
        changed = [racer(name, draw) for name in draw.sample(range(12), draw.randint(1, 3))]
        race = race.replaced(changed)
        assert shown(race) == shown(Race("", race.racers))


def test_a_race_that_another_has_followed_still_stands_as_it_did() -> None:
    draw = random.Random(1)
    race = Race("", tuple(racer(name, draw) for name in range(6)))
    before = shown(race)
    assert shown(race.replaced([racer(0, random.Random(9))])) != before
    assert shown(race) == before
