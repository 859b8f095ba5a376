"""A registered model's pages in MLflow, as a real browser shows them: all that one must know of it stands there in words."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jit_sweep.tracking.server import serve
from tests.support.browser import Browser, browser
from tests.support.promotions import MODEL, PromotionHome, by_prediction

SAYS = {
    "configuration": ["patch 16, width 16, depth 2, 2 heads", "x-prediction with a loss on v", "adamw, learning rate 0.001"],
    "evaluation settings": ["8 generated images of weights ema", "sampler euler, 2 steps, no guidance"],
    "scores with uncertainty": ["303.98, 95 % interval 292.83 to 315.55", "One more training lands between 282.09 and 327.56"],
    "how it was chosen": ["the best of 2 configurations of first", "which the choice alone makes about"],
    "gates": ["3.04 times what real held-out images score", "0 of 3 fresh seeds collapsed"],
    "lineage": ["sweep first-fresh-", "chosen in the sweep first", "digest 0d5dac706437cb73", "maths version"],
    "licence": ["licence: MIT (Microsoft Fluent Emoji)"],
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path) -> Iterator[str]:
    """The address of a server with one model, promoted from a sweep."""
    folder = tmp_path_factory.mktemp("served")
    made = PromotionHome.at(folder / "home", empty_mlflow=empty_mlflow)
    made.sweep("first", by_prediction({"x": 280.0, "v": 500.0}), learning_rate=1e-3)
    made.retrain("first", [300.0, 303.0, 309.0])
    assert made.promote("first") == 0
    made.close()
    with serve(made.home.tracking, artifacts=os.fspath(folder / "artifacts"), port=0) as serving:
        yield serving.url


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize(
    ("path", "heads"),
    [(f"models/{MODEL}", f"{MODEL}: champion is version 1"), (f"models/{MODEL}/versions/1", "fd_efflite0_96 303.98")],
)
def test_the_page_of_a_model_and_of_its_version_say_what_must_be_known(
    chromium: Browser, served: str, path: str, heads: str
) -> None:
    chromium.visit(f"{served}/#/{path}", width=1440)
    said = chromium.text_with("How to use it")
    assert heads in said
    assert [(what, words) for what, wanted in SAYS.items() for words in wanted if words not in said] == []
