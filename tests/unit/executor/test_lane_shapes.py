"""A lane trains the trials of one shape after the other, so that each shape is compiled once."""

import itertools
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from jit_sweep.estimate.simulate import Job, simulated
from jit_sweep.executor.schedule import Now, Start, Target, next_step, target_of
from jit_sweep.ledger.records import EntryRow, EntryState
from jit_sweep.plan.entry import Entry
from search_spaces.cells import put
from search_spaces.presets import preset
from tests.support.trials import trial_of_recipe
from trainables.config.evaluation import EvaluationConfig
from trainables.config.shape import lane_shape
from trainables.config.trial import DataConfig, TrialConfig
from trainables.training.measurement import Measured
from trainables.training.step import MOST_SHAPES

Axes = Mapping[str, Sequence[str | int | float]]
DATA = DataConfig(digest="0", image_size=32, num_classes=9)
IMAGES = 320
TARGETS = ("x", "eps", "v")


def trials(axes: Axes, *, seeds: int, compiled: bool = True) -> list[TrialConfig]:
    """A grid's trials in the order of a plan: every cell of one seed, then of the next."""
    recipe = preset("jit-tiny/16").model_copy(update={"compile": compiled})
    cells = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    recipes = [put(recipe, cell).recipe for cell in cells]
    return [trial_of_recipe(cell, data=DATA, seed=seed) for seed in range(seeds) for cell in recipes]


def row(trial: TrialConfig, position: int) -> EntryRow:
    return EntryRow(
        sweep="s",
        key=trial.id,
        stage=0,
        position=position,
        arm={},
        seed=trial.seed,
        trial_id=trial.id,
        images=IMAGES,
        evaluation_id="e",
        rungs=(),
        origin="grid",
        state=EntryState.WAITING,
        cached=False,
        updated_at=0.0,
        attempt=None,
        trial_json=trial.model_dump_json(),
        evaluation_json=EvaluationConfig().model_dump_json(),
    )


@dataclass
class Lane:
    """Keeps the steps of the latest shapes, as a process does, and counts what it compiles."""

    kept: OrderedDict[str, None] = field(default_factory=OrderedDict)
    compilations: int = 0
    target: Target | None = None

    @property
    def shape(self) -> str:
        return next(reversed(self.kept), "")

    def begin(self, row: EntryRow) -> None:
        self.target = target_of(row)
        self.compilations += row.shape not in self.kept
        self.kept[row.shape] = None
        self.kept.move_to_end(row.shape)
        while len(self.kept) > MOST_SHAPES:
            self.kept.popitem(last=False)


def compilations(planned: Sequence[TrialConfig], *, lanes: int) -> int:
    """Of a whole sweep whose trials take equally long: in each round every lane ends one trial and takes another."""
    rows = {target_of(one): one for one in (row(trial, position) for position, trial in enumerate(planned))}
    crew = [Lane() for _ in range(lanes)]
    for lane in itertools.cycle(crew):
        if lane.target is not None:
            rows[lane.target] = replace(rows[lane.target], state=EntryState.DONE)
            lane.target = None
        flying = [other.target for other in crew if other.target is not None]
        step = next_step(list(rows.values()), stages=1, proposals={}, now=Now(at=0.0, in_flight=flying, shape=lane.shape))
        if isinstance(step, Start):
            lane.begin(step.row)
        elif not flying:
            break
    assert all(one.state is EntryState.DONE for one in rows.values())
    return sum(lane.compilations for lane in crew)


SWEEPS: list[tuple[Axes, int, int]] = [
    ({"prediction": TARGETS, "loss": TARGETS}, 3, 9),
    ({"patch_size": (16, 8, 4), "prediction": TARGETS}, 6, 9),
    ({"patch_size": (16, 8), "prediction": ("x", "v")}, 6, 4),
    ({"batch_size": (32, 64), "prediction": TARGETS}, 3, 3),
    ({"t_mu": (-0.8, 0.0), "learning_rate": (1e-4, 1e-3)}, 3, 1),
]
NAMES = [" x ".join(axes) for axes, _, _ in SWEEPS]


@pytest.mark.parametrize(("axes", "seeds", "shapes"), SWEEPS, ids=NAMES)
def test_one_lane_compiles_each_shape_of_a_sweep_once(axes: Axes, seeds: int, shapes: int) -> None:
    planned = trials(axes, seeds=seeds)
    assert len({lane_shape(trial) for trial in planned}) == shapes
    assert compilations(planned, lanes=1) == shapes


@pytest.mark.parametrize(("axes", "seeds", "shapes"), SWEEPS, ids=NAMES)
def test_two_lanes_that_end_one_after_the_other_share_out_the_shapes(axes: Axes, seeds: int, shapes: int) -> None:
    """The lane that has ended last asks next: of lanes that end together the schedule knows only that one's shape."""
    sizes = len(axes.get("patch_size", (0,)))
    assert compilations(trials(axes, seeds=seeds), lanes=2) <= shapes + sizes, "one shape of each size is trained by both"


def test_eager_trials_go_seed_by_seed_since_a_lane_keeps_nothing_of_them() -> None:
    planned = trials({"prediction": TARGETS}, seeds=2, compiled=False)
    rows, kept = [row(trial, position) for position, trial in enumerate(planned)], ""
    taken = []
    while rows:
        step = next_step(rows, stages=1, proposals={}, now=Now(at=0.0, shape=kept))
        assert isinstance(step, Start)
        taken.append(step.row.position)
        kept = step.row.shape
        rows.remove(step.row)
    assert taken == list(range(6))


@pytest.mark.parametrize("lanes", [1, 2])
@pytest.mark.parametrize(("axes", "seeds", "shapes"), SWEEPS[:3], ids=NAMES[:3])
def test_the_estimate_counts_the_warm_ups_that_the_schedule_makes(axes: Axes, seeds: int, shapes: int, lanes: int) -> None:
    planned = trials(axes, seeds=seeds)
    jobs = [job(trial, position) for position, trial in enumerate(planned)]
    warm_ups = simulated(jobs, lanes=lanes).busy_s - len(jobs)
    assert warm_ups == pytest.approx(compilations(planned, lanes=lanes) * WARM_UP_S)


WARM_UP_S = 2.0**-20
"""So short that the trials of a round end in the order in which they began."""


def job(trial: TrialConfig, position: int) -> Job:
    entry = Entry(
        stage=0,
        stage_id="0",
        position=position,
        arm={},
        seed=trial.seed,
        trial=trial,
        images=IMAGES,
        evaluation=EvaluationConfig(),
        rungs=(),
        origin="grid",
    )
    measured = Measured(
        images_per_second=1.0,
        warmup_s=WARM_UP_S,
        rung_s=0.0,
        sampled_s=0.0,
        peak_bytes=1,
        modelled_bytes=1,
        micro_batch=1,
        activation_checkpointing=False,
    )
    return Job(entry, lane_shape(trial), measured, 1.0)
