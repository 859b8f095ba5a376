"""A sweep begins nothing that it cannot pay for, and says by which sum."""

from collections.abc import Mapping

import pytest

from jit_sweep.budget.spending import Need, Spending, Spent, is_over, refusal
from jit_sweep.ledger.records import AttemptRow
from jit_sweep.spec.budget import Budget
from tests.support.attempts import attempt, done
from tests.support.ledger import trial
from trainables.config.shape import SpeedShape, speed_shape

FAST, SLOW = trial(patch_size=16), trial(patch_size=4)
TRIALS = {"fast": FAST, "slow": SLOW}


def spending(
    *attempts: AttemptRow, devices: float = 1, now: float | None = None, speeds: Mapping[SpeedShape, float] | None = None
) -> Spending:
    """Of the sweep `mine`, whose trials are `TRIALS`; `speeds` are probed."""
    return Spending("mine", attempts, {"mine": devices}, now=now, trials=TRIALS, probed=speeds or {})


def budget(**limits: float) -> Budget:
    return Budget.model_validate({"images_per_trial": 960, **limits})


def test_images_count_as_often_as_they_were_trained_on() -> None:
    lost = attempt(images=700, checkpoint_images=480, outcome="failed", ended_at=10.0)
    again = attempt(number=2, images=960, started_at=10.0)
    assert spending(lost, again, now=20.0).spent.images == 700 + (960 - 480)


def test_a_checkpoint_beyond_the_target_is_not_gone_on_from() -> None:
    longer = done(ended_at=10.0, target_images=1920)
    shorter = attempt(number=2, images=96, started_at=10.0)
    assert spending(longer, shorter, now=20.0).spent.images == 1920 + 96


def test_what_another_sweep_trained_is_not_spent_here_and_is_gone_on_from() -> None:
    theirs = done(ended_at=10.0, sweep="theirs", target_images=480)
    ours = attempt(number=2, images=960, started_at=10.0)
    used = spending(theirs, ours, now=20.0).spent
    assert (used.images, used.trials, used.device_hours * 3600) == (480, 1, 10.0)


def test_device_hours_are_those_of_every_device_from_start_to_end() -> None:
    used = spending(done("a", ended_at=1800.0), attempt("b"), devices=4, now=3600.0).spent
    assert used.device_hours == pytest.approx(4 * 1.5)


def test_an_attempt_whose_driver_died_spent_nothing_after_its_last_report() -> None:
    left = attempt(outcome="driver_lost", updated_at=60.0, ended_at=36000.0)
    used = spending(left, now=36000.0).spent
    assert (used.device_hours * 3600, used.wall_hours * 3600) == pytest.approx((60.0, 60.0))


def test_wall_hours_count_trials_at_once_once_and_pauses_of_the_sweep_not_at_all() -> None:
    first, beside = done("a", ended_at=100.0), done("b", started_at=50.0, ended_at=120.0)
    within, next_day = done("c", started_at=60.0, ended_at=70.0), attempt("d", started_at=90_000.0)
    assert spending(next_day, first, within, beside, now=90_030.0).spent.wall_hours * 3600 == pytest.approx(150.0)


def test_trials_that_began_count_once_however_often_they_were_tried() -> None:
    tried = [attempt("a", outcome="failed", ended_at=1.0), attempt("a", 2), attempt("b")]
    assert spending(*tried, now=2.0).spent.trials == 2
    assert spending(now=2.0).spent == Spent()


def test_the_speed_of_a_shape_is_that_of_its_whole_attempts_and_else_what_is_reported() -> None:
    whole = done("fast", ended_at=96.0, images_per_second=50.0)
    assert spending(whole).speeds == {speed_shape(FAST): 10.0}
    under_way = [attempt("slow", images_per_second=3.0), attempt("slow", 2, images_per_second=5.0)]
    assert spending(whole, *under_way).speeds == {speed_shape(FAST): 10.0, speed_shape(SLOW): 4.0}
    assert spending(attempt("slow")).speeds == {}


def test_seeds_and_predictions_share_a_speed_and_patch_sizes_and_precisions_do_not() -> None:
    assert speed_shape(trial(seed=3, prediction="v")) == speed_shape(FAST)
    assert speed_shape(SLOW) != speed_shape(FAST)
    assert speed_shape(FAST.model_copy(update={"precision": "bf16"})) != speed_shape(FAST)


def test_a_trial_of_unknown_speed_reserves_its_images_alone() -> None:
    assert spending(devices=2).need(FAST, images=960) == Need(960)


def test_the_next_trial_may_begin_where_the_budget_holds_it_to_the_last_image() -> None:
    limits = budget(total_images=100_000)
    assert not refusal(limits, Spent(images=80_000), Need(images=15_000), next_need=Need(5_000))
    said = refusal(limits, Spent(images=80_000), Need(images=15_000), next_need=Need(10_000))
    assert said == "`budget.total_images` is 100,000: 80,000 are spent, running trials need 15,000, and the next needs 10,000"


def test_a_trial_that_only_needs_its_score_costs_no_images() -> None:
    assert not refusal(budget(total_images=1000), Spent(images=1200), Need(), next_need=Need())


@pytest.mark.parametrize(
    ("limits", "used", "said"),
    [
        ({"gpu_hours": 10.0}, Spent(device_hours=8.25), "`budget.gpu_hours` is 10: 8.25 are spent and the next needs 2"),
        (
            {"money": 20.0, "price_per_gpu_hour": 2.0},
            Spent(device_hours=8.25),
            "`budget.money` is 20: 16.5 are spent and the next needs 4",
        ),
        ({"wall_hours": 3.0}, Spent(wall_hours=2.5), "`budget.wall_hours` is 3: 2.5 are spent and the next needs 1"),
        ({"trials": 4}, Spent(trials=4), "`budget.trials` is 4: 4 have begun"),
    ],
)
def test_each_limit_refuses_by_its_own_sum(limits: dict[str, float], used: Spent, said: str) -> None:
    coming = Need(960, 2.0, 1.0)
    assert refusal(budget(**limits), used, Need(), next_need=coming) == said
    assert refusal(budget(**limits), Spent(), Need(), next_need=coming) == ""
    assert refusal(budget(), used, Need(), next_need=coming) == ""


def test_a_trial_that_has_begun_goes_on_whatever_the_number_of_trials() -> None:
    used = Spent(trials=4)
    assert not refusal(budget(trials=4), used, Need(), next_need=Need(960), has_begun=True)


@pytest.mark.parametrize(("used", "refused"), [(9.9, False), (10.0, True)])
def test_a_trial_of_unknown_need_may_begin_while_any_hours_are_left(used: float, refused: bool) -> None:
    said = refusal(budget(gpu_hours=10.0), Spent(device_hours=used), Need(), next_need=Need(960))
    assert said == ("`budget.gpu_hours` is 10: 10 are spent" if refused else "")


def test_only_hours_end_what_runs() -> None:
    limits = budget(total_images=10, trials=1, gpu_hours=2.0, wall_hours=1.0)
    assert is_over(limits, Spent(images=20, trials=3, device_hours=1.9, wall_hours=0.9)) == ""
    assert is_over(limits, Spent(device_hours=2.5)) == "`budget.gpu_hours` is 2: 2.5 are spent"
    assert is_over(limits, Spent(wall_hours=1.0)) == "`budget.wall_hours` is 1: 1 are spent"
