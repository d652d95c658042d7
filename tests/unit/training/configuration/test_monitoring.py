"""Which metric a configuration's monitors become, and which way is better."""

from types import SimpleNamespace

import pytest

from seq2seq.errors import UserError
from seq2seq.reporting.tables import ranked_by
from seq2seq.training.base import load_task
from seq2seq.training.configuration import monitoring
from tests.conftest import node

SHORT, NORMAL = ["walks", "went"], ["Ein Mann schläft auf dem Sofa."]
THAI = ["ประเทศไทยมีประชากรเจ็ดสิบล้านคน"]


def config(task="translation", callbacks="default", scheduler="cosine", **changes):
    found = node("callbacks", "default")
    for place, value in node("callbacks", callbacks).items():
        found[place] = {**found[place], **value} if isinstance(value, dict) else value
    options = {"translation": {"metrics": ["bleu", "chrf", "ter"]}, "captioning": {"metrics": ["exact", "bleu"]}}
    for place, values in changes.items():
        found[place] = {**found[place], **values}
    return {
        "task": {"name": task, **options.get(task, {})},
        "callbacks": found,
        "scheduler": node("scheduler", scheduler),
    }


def settle(given, references, recorded=None):
    corpus = SimpleNamespace(target_language="xx")
    data = SimpleNamespace(corpus=corpus, text=lambda split: (references, references))
    return monitoring.settle(load_task(given["task"]), given, data, recorded)


def check(given):
    task = load_task(given["task"])
    monitoring.check(given, task.logged(given), task.best_by(given))


@pytest.mark.parametrize(
    ("metric", "mode"),
    [
        *((f"val_{name}", "min") for name in ("loss", "perplexity", "bpc", "ter", "wer", "per", "wer-words")),
        *((f"val_{name}", "max") for name in ("bleu", "bleu-char", "chrf", "chrf++", "exact", "f1", "accuracy")),
    ],
)
def test_losses_and_errors_fall_and_scores_rise(metric, mode):
    assert monitoring.direction(metric) == mode


@pytest.mark.parametrize(
    ("task", "callbacks", "references", "metric", "mode"),
    [
        ("translation", "default", NORMAL, "val_bleu", "max"),
        ("translation", "default", SHORT, "val_chrf", "max"),
        ("translation", "default", THAI, "val_bleu-char", "max"),
        ("translation", "loss", SHORT, "val_loss", "min"),
        ("captioning", "default", SHORT, "val_chrf", "max"),
        ("captioning", "exact", SHORT, "val_exact", "max"),
        ("tagging", "default", SHORT, "val_f1", "max"),
        ("tagging", "f1", SHORT, "val_f1", "max"),
        ("classification", "default", SHORT, "val_accuracy", "max"),
        ("language_modeling", "default", SHORT, "val_loss", "min"),
    ],
)
def test_what_auto_becomes(task, callbacks, references, metric, mode):
    given = config(task, callbacks, "plateau")
    check(given)
    found = settle(given, references)
    for place in ("checkpoint", "early_stopping"):
        assert found.config["callbacks"][place]["monitor"] == metric
        assert found.config["callbacks"][place]["mode"] == mode
        assert given["callbacks"][place]["mode"] == "auto"  # what was given stays
    assert found.config["scheduler"] | {"monitor": "val_loss", "mode": "min"} == found.config["scheduler"]
    assert len(found.remarks) == (metric in ("val_chrf", "val_bleu-char"))
    assert not found.warnings


def test_the_chosen_metric_is_logged_and_comes_first_in_tests():
    found = settle(config(), THAI)
    assert found.config["task"]["metrics"] == ["bleu-char", "bleu", "chrf", "ter"]
    assert found.remarks == (
        "best model by val_bleu-char, since val_bleu could not distinguish models: 100% of the references are written "
        "without spaces between words",
    )
    task = load_task(found.config["task"])
    assert "val_bleu-char" in task.logged(found.config)
    assert settle(config(), SHORT).config["task"]["metrics"] == ["chrf", "bleu", "ter"]
    assert settle(config(), NORMAL).config["task"]["metrics"] == ["bleu", "chrf", "ter"]
    given = config()
    given["task"]["metrics"] = ["wer", "per"]
    assert (
        settle(given, SHORT).config["callbacks"]["checkpoint"] | {"monitor": "val_wer", "mode": "min"}
        == (settle(given, SHORT).config["callbacks"]["checkpoint"])
    )


def test_what_the_user_chose_is_kept_with_a_warning():
    found = settle(config(checkpoint={"monitor": "val_bleu"}), SHORT)
    assert found.config["callbacks"]["checkpoint"]["monitor"] == "val_bleu"
    assert found.config["callbacks"]["early_stopping"]["monitor"] == "val_chrf"
    assert len(found.warnings) == 1
    assert (
        "callbacks.checkpoint.monitor=val_bleu is kept as given, but hardly distinguishes models: 100%"
        in (found.warnings[0])
    )
    assert not settle(config(checkpoint={"monitor": "val_bleu"}), NORMAL).warnings


def test_a_plateau_may_follow_too():
    given = config(scheduler="plateau")
    given["scheduler"]["monitor"] = "auto"
    check(given)
    assert (
        settle(given, SHORT).config["scheduler"] | {"monitor": "val_chrf", "mode": "max"}
        == (settle(given, SHORT).config["scheduler"])
    )


def test_a_resumed_run_keeps_its_metric():
    recorded = {"callbacks.checkpoint": "val_bleu", "callbacks.early_stopping": "val_bleu"}
    found = settle(config(), SHORT, recorded)
    assert found.config["callbacks"]["checkpoint"]["monitor"] == "val_bleu"
    recorded = {"callbacks.checkpoint": "val_bleu-char", "callbacks.early_stopping": "val_bleu-char"}
    found = settle(config(), NORMAL, recorded)
    assert found.config["callbacks"]["checkpoint"]["monitor"] == "val_bleu-char"
    assert found.config["task"]["metrics"][0] == "bleu-char"
    assert monitoring.recorded_in(found.config) == recorded
    adopted = monitoring.adopt(config(), recorded)
    assert adopted["callbacks"]["checkpoint"]["monitor"] == "val_bleu-char"


@pytest.mark.parametrize(
    ("changes", "scheduler", "message"),
    [
        (
            {"checkpoint": {"monitor": "val_loss", "mode": "max"}},
            {},
            "checkpoint.mode=max: val_loss is better the lower",
        ),
        ({"early_stopping": {"monitor": "val_chrf", "mode": "min"}}, {}, "early_stopping.mode=min: val_chrf is better"),
        ({"checkpoint": {"mode": "min"}}, {}, "callbacks.checkpoint.mode=min: val_bleu is better the higher it is"),
        ({"checkpoint": {"mode": "down"}}, {}, "callbacks.checkpoint.mode='down': use min or max, or auto"),
        (
            {"checkpoint": {"monitor": "bleu"}},
            {},
            "callbacks.checkpoint.monitor='bleu': use one of val_loss, val_perpl",
        ),
        (
            {},
            {"mode": "max"},
            "scheduler.mode=max: val_loss is better the lower it is; leave mode out, or set it to min",
        ),
        ({}, {"monitor": "val_bleu", "mode": "min"}, "scheduler.mode=min: val_bleu is better the higher"),
        ({}, {"monitor": "train_loss"}, "scheduler.monitor='train_loss': use one of val_loss"),
    ],
)
def test_contradictions_are_refused(changes, scheduler, message):
    given = config(scheduler="plateau", **changes)
    given["scheduler"] |= scheduler
    with pytest.raises(UserError, match=message):
        check(given)


def test_parts_that_are_switched_off_have_no_monitor():
    given = config() | {"scheduler": None}
    given["callbacks"] = {**given["callbacks"], "early_stopping": None}
    check(given)
    assert list(dict(monitoring.monitored(given))) == ["callbacks.checkpoint"]
    assert monitoring.best_by({"callbacks": None}) == ""


def test_a_leaderboard_is_ranked_by_what_chose_the_models():
    def row(monitor, **scores):
        return {"run": "a", "varied": {}, "monitor": monitor, "val_loss": 1.0, **scores}

    rows = [row("val_chrf", BLEU=0.0, chrF=30.0), row("val_chrf", BLEU=5.0, chrF=10.0)]
    assert ranked_by(rows) == "chrF"
    assert ranked_by([row("val_bleu", BLEU=0.0, chrF=3.0)]) == "chrF"  # BLEU is 0 for all
    assert ranked_by([row("val_loss", BLEU=1.0, chrF=3.0)]) == "BLEU"
    assert ranked_by([row(None, BLEU=1.0, chrF=3.0), row("val_chrf", BLEU=1.0, chrF=3.0)]) == "chrF"
    assert ranked_by([row("val_bleu", BLEU=1.0, chrF=3.0), row("val_chrf", BLEU=1.0, chrF=3.0)]) == "BLEU"
    assert ranked_by([row("val_bleu", BLEU=None, chrF=None)]) == "val_loss"
