"""The report's contents and its formats."""

import csv
import io
import json
import math
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from jit_sweep.cli.leaderboard import print_tables
from jit_sweep.errors import UserError
from jit_sweep.ledger.evaluations import EvaluationLog
from jit_sweep.ledger.event_records import Evaluated, Tuned, TunedView
from jit_sweep.ledger.records import Cause, HeldoutRow
from jit_sweep.report.contents import Report, read_report
from jit_sweep.report.grids import read_grids, read_ways
from jit_sweep.report.markdown import markdown
from jit_sweep.report.page.render import page
from jit_sweep.report.paper import csv_table, latex, write_paper
from jit_sweep.report.table_set import tables_of
from jit_sweep.report.tables import Table, TableCell, TableRow, arms_table
from jit_sweep.report.write import as_text, checked_format, write_report
from tests.support.ledger import LedgerFixture, ended, planned, scored
from trainables.config.tuning import CHOOSING, CONFIRMING, Tuning
from trainables.report import Rung

FD, KID, ERROR = "fd_efflite0_96", "kid_efflite0_96", "heldout_v_error"
X, V = {"prediction": "x"}, {"prediction": "v"}
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


def train(ledger: LedgerFixture, arm: dict[str, str], seed: int, *, rungs: tuple[float, float], score: float) -> None:
    """A trial whose held-out error was measured half-way and at its end."""
    entry = planned(arm=arm, seed=seed, position=len(ledger.reader.entries("mine")))
    ledger.plan(entry)
    measured = [Rung(images=images, values={ERROR: value}) for images, value in zip((480, 960), rungs, strict=True)]
    scores = scored(entry, {FD: score, KID: score / 1000, ERROR: rungs[1]})
    ledger.tell(ledger.begin(entry), *measured, scores, ended(entry))


@pytest.fixture
def report(ledger: LedgerFixture) -> Report:
    """Two arms of three seeds, of which one is better by each metric, and a trial that diverged."""
    for seed in range(3):
        train(ledger, X, seed, rungs=(0.30 + seed / 1000, 0.20 + seed / 1000), score=1000 + 3 * seed)
        train(ledger, V, seed, rungs=(0.90 + seed / 1000, 0.40 + seed / 900), score=2000 + 7 * seed)
    ledger.diverge(planned(arm={"prediction": "eps"}, position=99), images=96)
    return read_report(ledger.reader, "mine")


def test_the_answer_says_what_was_found_how_good_the_best_is_and_what_is_not_known(report: Report) -> None:
    assert "prediction=x" in report.answer.found
    assert report.answer.best.startswith(f"The best arm, prediction=x, has {FD} 1,003.0 ± 3.0 over 3 seeds.")
    assert report.answer.unknown.startswith("Not known: ")
    assert "longer training" in report.answer.unknown


def test_the_answer_has_the_leaderboard_s_figure_and_says_of_what_it_is(report: Report) -> None:
    """A ratio has two directions: v is 100.9 % above x, and x is 50.2 % below v."""
    finding = next(each for each in report.results.findings.planned if each.effect is not None)
    assert finding.effect is not None
    figure, interval = str(finding.effect).removeprefix("+").split(" % ")
    low, high = interval.strip("[]").replace("+", "").split(", ")
    assert finding.question.label == "prediction=v against x"
    stated = f"{FD} of prediction=v is {figure} % higher than of prediction=x (between {low} and {high} %, 95 % interval)"
    assert stated in report.answer.found


def test_the_answer_begins_with_the_question_and_says_what_it_is_judged_by(report: Report) -> None:
    assert report.answer.question.startswith("Is prediction=v better or worse than prediction=x?")
    assert report.answer.judged.startswith(f"Judged by {FD}: how far generated images are from the training images")
    assert "lower is better. ± is the standard deviation over seeds" in report.answer.judged


def test_a_file_s_own_question_stands_in_the_place_of_those_that_were_planned(ledger: LedgerFixture) -> None:
    asked = "Does the clean image <b> beat the velocity?"
    ledger.spec = {"question": asked}
    ledger.judged_by(ledger.decider)
    report = read_report(ledger.reader, "mine")
    assert report.answer.question == asked
    assert "Does the clean image &lt;b&gt; beat the velocity?" in page(report, [])
    assert "Does the clean image &lt;b&gt; beat the velocity?" in markdown(report)


def test_a_conflict_over_an_interaction_says_what_each_metric_has(ledger: LedgerFixture) -> None:
    """v costs 50 % more distance at 8 than at 16, by far less error."""
    for patch, (distance, error) in {16: (1.2, 3.0), 8: (1.8, 1.5)}.items():
        for prediction, (ratio, rise) in {"x": (1.0, 1.0), "v": (distance, error)}.items():
            for seed in range(3):
                entry = planned(arm={"patch_size": patch, "prediction": prediction}, seed=seed, position=-patch)
                ledger.train(entry, {FD: ratio * (1000 + 3 * seed), KID: ratio, ERROR: rise * (0.2 + seed / 1000)})
    card = next(card for card in read_report(ledger.reader, "mine").cards if card.verdict == "CONFLICT")
    assert card.asked == "Does the effect of prediction=v against x differ between patch_size=8 and 16?"
    assert card.statement.startswith(f"The ratio in {FD} of prediction=v against x is 50.0 % higher at patch_size=8 than at 16")
    assert f"but {ERROR} says otherwise: -50.0 %" in card.statement


def test_the_page_explains_the_axes_that_vary_and_the_metrics_that_it_shows(report: Report) -> None:
    words = {row.cells[0].text: row.cells[1].text for row in tables_of(report).words.rows}
    assert "the clean image" in words["prediction"]
    assert {FD, KID, ERROR, "±", "seed"} <= words.keys()
    assert "patch_size" not in words


def test_nothing_is_claimed_of_a_sweep_without_scores(ledger: LedgerFixture) -> None:
    ledger.plan(planned(arm=X), planned(arm=V, position=1))
    report = read_report(ledger.reader, "mine")
    assert report.answer.found.startswith("Nothing is decided")
    assert report.answer.best.startswith("No arm can be called the best")
    assert "what 2 trials that have not ended will say" in report.answer.unknown
    assert "<h1>mine</h1>" in page(report, [])
    assert "# mine" in markdown(report)


def test_time_to_quality_is_the_first_rung_that_is_good_enough_and_never_there_is_infinite(
    report: Report, ledger: LedgerFixture
) -> None:
    easy = {row.label: row for row in report.quality}
    assert easy["prediction=x"].images == (480, 480, 480)
    assert easy["prediction=v"].images == (960, 960, 960)
    hard = {row.label: row for row in read_report(ledger.reader, "mine", goal=0.25).quality}
    assert (hard["prediction=x"].reached, hard["prediction=x"].images) == (3, (960, 960, 960))
    assert (hard["prediction=v"].reached, hard["prediction=v"].images.first) == (0, math.inf)
    assert hard["prediction=x"].hours == pytest.approx((10 / 3600,) * 3)


def test_an_arm_that_still_learned_at_its_end_is_a_caveat_of_the_answer_and_of_its_card(ledger: LedgerFixture) -> None:
    learn(ledger, X, drop=0.3, score=1000)
    learn(ledger, V, drop=0.0, score=1500)
    report = read_report(ledger.reader, "mine")
    assert "(1 of 2 arms still learned at the end)" in report.answer.unknown
    assert ("still learning at the end", "prediction=x") in report.cards[0].facts


def test_an_arm_that_two_stages_ask_about_still_learned_once_and_at_two_budgets_by_each(
    ledger: LedgerFixture, tmp_path: Path
) -> None:
    learn(ledger, X, drop=0.3, score=1000)
    learn(ledger, V, drop=0.3, score=1500)
    ledger.plan(*(planned(arm=X, seed=seed, position=seed, stage=1) for seed in range(3)))  # is scored by now
    learn(ledger, V, drop=0.3, score=1400, stage=1, images=1920)
    report = read_report(ledger.reader, "mine")
    assert len(report.results.arms) == 4
    assert "(3 of 3 arms still learned at the end)" in report.answer.unknown
    screen = Console(width=200, record=True, file=(tmp_path / "screen").open("w"))
    print_tables(report.results, screen)
    learning = [line.split(" would gain ")[0] for line in screen.export_text().splitlines() if " would gain " in line]
    assert sorted(learning) == ["  prediction=v on 1,920 images", "  prediction=v on 960 images", "  prediction=x"]


def learn(ledger: LedgerFixture, arm: dict[str, str], *, drop: float, score: float, stage: int = 0, images: int = 960) -> None:
    """Three seeds whose error falls by `drop` in a thousand images."""
    for seed in range(3):
        position = len(ledger.reader.entries("mine"))
        entry = planned(arm=arm, seed=seed, position=position, stage=stage, images=images)
        ledger.plan(entry)
        third = entry.images // 3
        rungs = [Rung(images=third * n, values={ERROR: 1.2 - drop * third * n / 1000 + seed / 1000}) for n in (1, 2, 3)]
        ledger.tell(ledger.begin(entry), *rungs, scored(entry, {FD: score + seed}), ended(entry))


def test_a_seed_that_may_go_on_counts_neither_as_there_nor_as_never(ledger: LedgerFixture) -> None:
    for seed in range(2):
        train(ledger, X, seed, rungs=(0.3, 0.2), score=1000)
    entry = planned(arm=X, seed=2, position=9)
    ledger.plan(entry)
    ledger.tell(ledger.begin(entry), Rung(images=480, values={ERROR: 0.9}))
    (row,) = read_report(ledger.reader, "mine", goal=0.25).quality
    assert (row.seeds, row.reached, row.images) == (2, 2, (960, 960, 960))


def test_the_time_of_a_trial_that_ended_early_is_that_of_the_images_that_it_saw(ledger: LedgerFixture) -> None:
    entry = planned(arm=X)
    ledger.plan(entry)
    seen = Rung(images=480, values={ERROR: 0.2})
    ledger.tell(ledger.begin(entry), seen, ended(entry, "diverged", images=480, first_bad_step=7))
    (row,) = read_report(ledger.reader, "mine", goal=0.25).quality
    assert row.hours == pytest.approx((10 / 3600,) * 3)


def test_losses_are_told_by_cause_with_trials_lost_and_attempts_made_again(ledger: LedgerFixture) -> None:
    ledger.diverge(planned(arm=X), images=96)
    failed = planned(arm=V, position=1)
    ledger.plan(failed)
    ledger.writer.fail(failed.trial_id, ledger.begin(failed).number, cause=Cause.WORKER_LOST, detail="gone")
    rows = {row.cause: row for row in read_report(ledger.reader, "mine").losses}
    assert (rows["diverged"].trials, rows["diverged"].attempts, rows["diverged"].first_bad_step) == (1, 0, 7)
    assert (rows["worker_lost"].trials, rows["worker_lost"].attempts, rows["worker_lost"].detail) == (0, 1, "gone")


def test_page_markdown_and_json_say_the_same(report: Report, tmp_path: Path) -> None:
    texts = {
        suffix: write_report(report, tmp_path / f"r{suffix}", storage=None).read_text() for suffix in (".html", ".md", ".json")
    }
    for text in texts.values():
        assert report.answer.best in text
        assert "diverged" in text
    read = json.loads(texts[".json"])
    assert read["schema"] == "jit-sweep/report/1"
    assert {row["kind"] for row in read["rows"]} == {"arm"}
    assert [curve["points"][0]["images"] for curve in read["curves"]] == [480, 480]


def test_a_report_is_written_whole_or_not_at_all(report: Report, tmp_path: Path) -> None:
    path = write_report(report, tmp_path / "deep" / "r.html", storage=None)
    assert [each.name for each in path.parent.iterdir()] == ["r.html"]
    with pytest.raises(UserError, match=r"must end in .html, .md or .json, got 'r.pdf'; try r.html"):
        checked_format(Path("r.pdf"))


class Scripts(HTMLParser):
    """The scripts of a page and the elements that could start one."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts, self.handlers = 0, list[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def test_names_cells_and_causes_cannot_bring_a_script_into_the_page(ledger: LedgerFixture) -> None:
    entry = planned(arm=X)
    ledger.plan(entry)
    ledger.writer.fail(entry.trial_id, ledger.begin(entry).number, cause=Cause.BUG, detail=HOSTILE)
    report = read_report(ledger.reader, "mine")
    text = page(report, [])
    assert "alert(1)" in text
    assert Scripts(text).scripts == 2
    assert Scripts(text).handlers == []
    assert "<script" not in markdown(report)


def test_every_table_is_csv_and_latex_and_every_figure_svg(report: Report, tmp_path: Path) -> None:
    names = {path.name for path in write_paper(report, tmp_path)}
    assert {"arms.csv", "arms.tex", "effects.csv", "quality.tex", "losses.csv", "cost.tex", "checklist.tex"} <= names
    assert {f"learning-{ERROR}-images.svg", f"learning-{ERROR}-flops.svg", "effects.svg"} <= names
    rows = list(csv.DictReader(io.StringIO((tmp_path / "arms.csv").read_text())))
    assert float(rows[0][f"{FD} (value)"]) == 1003.0
    assert r"$\pm$" in (tmp_path / "arms.tex").read_text()


def test_every_figure_is_a_pdf_drawn_of_the_bytes_that_the_page_shows(report: Report, tmp_path: Path) -> None:
    pytest.importorskip("svglib")
    names = {path.name for path in write_paper(report, tmp_path)}
    drawn = {name for name in names if name.endswith(".pdf")}
    assert drawn == {f"{Path(name).stem}.pdf" for name in names if name.endswith(".svg")}
    assert "effects.pdf" in drawn
    assert (tmp_path / "effects.pdf").read_bytes().startswith(b"%PDF-")
    assert (tmp_path / "effects.svg").read_text() in page(report, [])


def test_a_spreadsheet_takes_no_cell_for_a_formula() -> None:
    table = Table("t", "", ("name", "effect"), (TableRow((TableCell("=cmd()"), TableCell("-3.5", -3.5))),))
    assert csv_table(table).splitlines()[1] == "'=cmd(),-3.5,-3.5"


def test_latex_shows_its_own_letters() -> None:
    assert latex(r"50 % of a_b & {c} ~ \d") == r"50 \% of a\_b \& \{c\} \textasciitilde{} \textbackslash{}d"


def test_tables_name_every_arm_and_the_causes(report: Report) -> None:
    shown = tables_of(report)
    assert [row.cells[0].text for row in shown.arms.rows] == ["prediction=x", "prediction=v", "prediction=eps"]
    assert [row.cells[0].text for row in shown.losses.rows] == ["diverged"]


def test_images_that_no_model_made_stand_below_the_arms() -> None:
    heldout = HeldoutRow("d" * 12, 64, {FD: 312.5}, {"white images": {FD: 1608.0, KID: 1.9}})
    rows = arms_table([], objective=FD, heldout=heldout).rows
    assert [(row.cells[0].text, row.cells[2].text, row.mark) for row in rows] == [
        ("held-out real images", "312.5", True),
        ("white images", "1608", True),
    ]


@pytest.mark.parametrize("place", ["{folder}/gone.png", "{folder}/words.png", "{folder}", "s3://bucket/x.png"])
def test_a_picture_that_cannot_be_read_is_left_out(
    ledger: LedgerFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nobody listens there
    (tmp_path / "words.png").write_text("no picture")
    entry = planned(arm=X)
    ledger.plan(entry)
    score = scored(entry, {FD: 1.0}).model_copy(update={"grid": place.format(folder=tmp_path)})
    ledger.tell(ledger.begin(entry), score, ended(entry))
    assert read_grids(read_report(ledger.reader, "mine").results.arms, storage=None) == []


def test_the_way_of_an_arm_is_its_rungs_pictures_in_rows_and_what_it_takes_images_for(
    ledger: LedgerFixture, tmp_path: Path
) -> None:
    entry = planned(arm=X)
    ledger.plan(entry)
    for name, colour, size in (("a", "red", (8, 2)), ("b", "blue", (8, 2)), ("seen", "green", (8, 12))):
        Image.new("RGB", size, colour).save(tmp_path / f"{name}.png")
    drawn = [{"progress": f"{tmp_path}/{name}.png", "denoised": f"{tmp_path}/seen.png"} for name in "ab"]
    facts = [{"images": images, "values": {ERROR: 0.5}} for images in (480, 960)]
    rungs = [Rung.model_validate({**fact, "pictures": each}) for fact, each in zip(facts, drawn, strict=True)]
    ledger.tell(ledger.begin(entry), *rungs, scored(entry, {FD: 1.0}), ended(entry))
    report = read_report(ledger.reader, "mine")
    (way,) = read_ways(report.results.arms, report.pictures, storage=None)
    sheet = Image.open(io.BytesIO(way.progress))
    assert (way.images, sheet.size) == ((480, 960), (8, 4))
    red, blue = (np.asarray(sheet)[row, 4].tolist() for row in (0, 3))
    assert red[0] > 200 > red[2]
    assert blue[2] > 200 > blue[0]
    assert "takes them for at t = 0.1" in page(report, [], [way])
    (tmp_path / "b.png").unlink()
    assert read_ways(report.results.arms, report.pictures, storage=None) == []


@pytest.mark.slow
def test_ten_thousand_trials_are_a_page_of_two_megabytes_at_most(report: Report) -> None:
    first = next(arm for arm in report.results.arms if arm.arm == X)
    arms = [
        replace(first, arm={"prediction": "xv"[place % 2], "patch_size": 2 ** (place % 3 + 2), "learning_rate": place / 9e6})
        for place in range(3334)
    ]
    many = replace(report, results=replace(report.results, arms=tuple(arms)))
    text = page(many, [])
    assert len(text.encode()) <= 2_000_000
    assert text.count('"done"') == 3 * len(arms)
    assert "interaction-patch_size-prediction" in text
    assert "interaction-patch_size-learning_rate" not in text  # more values than a figure can tell apart


def test_scores_over_guidance_and_interval_are_those_that_the_search_chose_by(ledger: LedgerFixture, tmp_path: Path) -> None:
    train(ledger, X, 0, rungs=(0.3, 0.2), score=1000)
    (entry,) = ledger.reader.entries("mine")
    log, own = EvaluationLog(ledger.engine), entry.evaluation.model_dump(mode="json")
    common: dict[str, Any] = {
        "images": entry.images,
        "without_each": {},
        "heldout": {},
        "rows": {},
        "seconds": 1.0,
        "code_version": "1",
    }
    tried = [(1.0, 0.1, 900.0), (2.0, 0.1, 700.0), (2.0, 0.3, 800.0), (3.0, 0.1, 750.0)]
    for place, (guidance, low, value) in enumerate([*tried, (9.0, 0.1, 1.0)]):
        seed = own["seed"] + (CHOOSING if guidance < 9 else CONFIRMING)
        setting = {**own, "guidance": guidance, "interval": [low, 1.0], "n": 32, "seed": seed}
        found = Evaluated(evaluation_id=str(place), evaluation=setting, values={FD: value}, collapsed=False, **common)
        log.add(found, sweep="mine", trial_id=entry.trial_id)
    view = TunedView(evaluation=own, value=1.0, error=None)
    tuning = Tuning(guidance=(1.0, 2.0, 3.0), interval=((0.1, 1.0), (0.3, 1.0))).model_dump(mode="json")
    facts: dict[str, Any] = {
        "images": entry.images,
        "evaluation_id": entry.evaluation_id,
        "metric": FD,
        "tried": 4,
        "seconds": 1.0,
    }
    log.add(Tuned(tuning=tuning, shared=view, best=view, **facts), sweep="mine", trial_id=entry.trial_id)
    report = read_report(ledger.reader, "mine")
    (surface,) = report.surfaces
    assert [(point.guidance, point.interval[0], point.value) for point in surface.points] == sorted(
        tried, key=lambda each: (each[1], each[0])
    )
    assert surface.best[:2] == (2.0, (0.1, 1.0))
    assert "guidance acts from t = 0.3 to 1" in page(report, [])
    assert {"sampling.csv", "sampling.tex", "sampling-0.svg"} <= {path.name for path in write_paper(report, tmp_path)}
    assert json.loads(as_text(report, ".json", storage=None))["sampling_surfaces"][0]["points"][1]["value"] == 700.0
    (own,) = json.loads(as_text(report, ".json", storage=None))["tuned_sampling"]
    assert (own["shared"], own["best"], own["seeds"]) == (1.0, 1.0, 1)
    assert "## Each network at its own best" in markdown(report)
    assert 'id="own-best"' in page(report, [])
