"""The registry of metrics: every entry's code is there, and a score's name says which weights it is of."""

from dataclasses import replace
from pkgutil import resolve_name

import pytest
from pydantic import BaseModel, ValidationError

from trainables.assignment import Assignment
from trainables.config.features import FileFeatures, InceptionFeatures, VitFeatures
from trainables.evaluation.features.registry import EXTRACTORS, extractor
from trainables.evaluation.metrics.registry import (
    METRICS,
    RUNG_METRIC,
    MetricName,
    NetworkAlone,
    Samples,
    ScoreName,
    by_name,
    joined,
    metric_of,
    parse,
    score_names,
    shown,
    split,
    table_metrics,
    verdict_metrics,
)
from trainables.report import Rung, Scored


def test_every_metric_s_code_and_extractor_are_found_by_name() -> None:
    for metric in METRICS.values():
        assert callable(resolve_name(metric.compute)), metric.name
        assert not isinstance(metric.needs, Samples) or metric.needs.extractor in EXTRACTORS
    assert extractor("efflite0").dimensions > 0
    files: dict[str, FileFeatures] = {
        "inception": InceptionFeatures(weights="w"),
        "vit": VitFeatures(weights="w", sha256="0" * 64),
    }
    assert all(extractor(name, config).variant(32).startswith(name) for name, config in files.items())


def test_every_metric_says_what_it_is_for_people() -> None:
    assert all(metric.unit and metric.about and name == metric.name for name, metric in METRICS.items())
    assert isinstance(METRICS[RUNG_METRIC].needs, NetworkAlone)


def test_tables_show_what_is_meant_for_people_and_verdicts_rest_on_what_judges() -> None:
    assert table_metrics("fid") == ["fid", "fid_heldout", "kid", "heldout_v_error"]
    assert verdict_metrics("fd_vit_raw") == ["fd_vit", "kid_vit", "heldout_v_error"]
    assert {"fd_efflite0_96", "kid_efflite0_96", "heldout_v_error"} <= set(verdict_metrics())
    assert "fd_efflite0_96_heldout" not in verdict_metrics()
    assert table_metrics("heldout_cross_entropy") == ["heldout_cross_entropy", "heldout_accuracy"]
    assert {*verdict_metrics(), "fd_efflite0_96_heldout"} <= set(table_metrics())


def test_a_metric_s_name_must_be_its_own_and_not_look_like_one_of_raw_weights() -> None:
    metric = METRICS[RUNG_METRIC]
    with pytest.raises(ValueError, match=r"must not end in _raw.*got 'sharpness_raw'; rename it"):
        replace(metric, name="sharpness_raw")
    with pytest.raises(ValueError, match=f"must have a name of its own, got {RUNG_METRIC} twice"):
        by_name(metric, replace(metric, name="other"), replace(metric, unit="another"))
    assert list(by_name(metric, replace(metric, name="other"))) == [RUNG_METRIC, "other"]


def test_a_shown_name_is_read_back() -> None:
    assert score_names()[:2] == [next(iter(METRICS)), f"{next(iter(METRICS))}_raw"]
    assert [shown(parse(name)) for name in score_names()] == score_names()
    assert parse("kid_efflite0_96_raw") == ScoreName("kid_efflite0_96", "raw")
    assert metric_of("heldout_v_error_raw") is METRICS["heldout_v_error"]
    with pytest.raises(ValueError, match="must be of a registered metric, got 'fiid'; did you mean 'fid'"):
        parse("fiid")


def test_values_of_both_weights_are_told_apart_and_joined_again() -> None:
    values = {"fd": 1.0, "kid": 2.0, "fd_raw": 3.0, "kid_raw": 4.0}
    assert split(values) == {"evaluated": {"fd": 1.0, "kid": 2.0}, "raw": {"fd": 3.0, "kid": 4.0}}
    assert list(joined({"fd": 1.0, "kid": 2.0}, {"fd": 3.0, "kid": 4.0}).items()) == list(values.items())


def test_a_metric_name_is_checked_under_its_field_s_name() -> None:
    class Holder(BaseModel):
        objective: MetricName

    assert Holder(objective="fd_efflite0_96_raw").objective == "fd_efflite0_96_raw"
    rule = "`objective` must be a registered metric, got 'fd_efflite'; did you mean"
    with pytest.raises(ValidationError, match=rule):
        Holder(objective="fd_efflite")
    assert Assignment.model_fields["rung_metric"].default == RUNG_METRIC


def test_reports_from_before_weights_stood_apart_are_read() -> None:
    old = (
        '{"kind": "scored", "images": 16, "evaluation": "7c0bd32eb797", "n": 8, "values": {"fd_efflite0_96": 1681.6, '
        '"heldout_v_error": 1.645, "fd_efflite0_96_raw": 1681.7, "heldout_v_error_raw": 1.643}, '
        '"heldout": {"fd_efflite0_96": 1635.8}, "grid": "/tmp/grid.png", "collapsed": true}'
    )
    scored = Scored.model_validate_json(old)
    assert scored.values == {"fd_efflite0_96": 1681.6, "heldout_v_error": 1.645}
    assert scored.raw_values == {"fd_efflite0_96": 1681.7, "heldout_v_error": 1.643}
    assert Scored.model_validate_json(scored.model_dump_json()) == scored
    rung = Rung.model_validate({"kind": "rung", "images": 8, "values": {"heldout_v_error": 1.0, "heldout_v_error_raw": 2.0}})
    assert (rung.values, rung.raw_values) == ({"heldout_v_error": 1.0}, {"heldout_v_error": 2.0})
    assert rung.by_name == {"heldout_v_error": 1.0, "heldout_v_error_raw": 2.0}
