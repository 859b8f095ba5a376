"""Samples are drawn in rounds: an interrupt is heard between two, and what was drawn before it is not drawn again."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch

from tests.support.trials import lively
from tests.unit.trainables.test_train import DATA, trial
from trainables.config.evaluation import EvaluationConfig
from trainables.evaluation.generate import Interrupted, batches
from trainables.storage.folder import Folder
from trainables.training.drawing import Drawn, KeptSamples, draw
from trainables.training.workers import Workers

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
N, STEPS = 100, 2
BATCH = 32
LABELS = torch.arange(N) % DATA.num_classes


def drawn(
    folder: Path,
    *,
    interrupted: Callable[[], bool] = lambda: False,
    hear: Callable[[int], None] = lambda _: None,
    clock: Iterable[float] = (),
) -> Drawn:
    """A hundred images in four batches; by default only what an interrupt leaves is written."""
    times = iter(clock)
    return draw(
        lively(trial()),
        trial(),
        EvaluationConfig(n=N, sampler="euler", steps=STEPS),
        LABELS,
        workers=Workers(),
        kept=KeptSamples(Folder(str(folder)), "drawn", 60.0, clock=lambda: next(times, 0.0)),
        interrupted=interrupted,
        drawn=hear,
    )


def test_images_are_counted_as_they_are_drawn_a_round_under_way_by_its_steps(tmp_path: Path) -> None:
    counted: list[int] = []
    drawn(tmp_path, hear=counted.append)
    assert counted == [16, 32, 48, 64, 80, 96, 98, 100]


def test_a_drawing_that_was_interrupted_goes_on_where_it_was_to_the_same_bits(tmp_path: Path) -> None:
    asked = iter([False, False, True])
    with pytest.raises(Interrupted):
        drawn(tmp_path, interrupted=lambda: next(asked))
    assert next(asked, None) is None
    counted: list[int] = []
    whole, again = drawn(tmp_path / "whole"), drawn(tmp_path, hear=counted.append)
    assert counted[0] == 2 * BATCH + BATCH // 2
    assert torch.equal(again.features["efflite0"], whole.features["efflite0"])
    assert torch.equal(again.samples, whole.samples)


def test_what_is_drawn_is_written_at_intervals_and_read_up_to_the_first_damaged_file(tmp_path: Path) -> None:
    asked = iter([False] * 3 + [True])
    with pytest.raises(Interrupted):
        drawn(tmp_path, interrupted=lambda: next(asked), clock=(0, 61, 61, 122, 122, 183, 183))
    files = sorted((tmp_path / "drawn").iterdir())
    assert [file.name[:12] for file in files] == ["000000000000", "000000000032", "000000000064"]
    files[1].write_bytes(files[1].read_bytes()[:-1])
    counted: list[int] = []
    drawn(tmp_path, hear=counted.append)
    assert counted[0] == BATCH + BATCH // 2


@pytest.mark.parametrize(("n", "size"), [(8, 8), (100, 32), (384, 48), (20_000, 1024)])
def test_an_evaluation_has_eight_batches_at_least_unless_they_would_be_tiny(n: int, size: int) -> None:
    found = batches(trial(), torch.zeros(n, dtype=torch.int64), device=torch.device("cpu"))
    assert [found[0].start, found[0].stop, found[-1].stop] == [0, size, n]
