"""What is said of runs whose training diverged: made up, so that every number and sentence is known."""

import warnings
from collections.abc import Sequence
from math import inf, isnan, nan
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_up_sweep import MadeUp, write_sweep
from synthetic_run import Synthetic, write_part
from test_report import views

import analysis
from analysis import measures, plots, report, sweep_plots
from analysis.claims import Claim, judge
from analysis.comparison.arms import arms
from analysis.comparison.outcomes import Goal, Outcome, hardest_common_goal, observe
from analysis.seeds import over_seeds
from netsim.tables import EvaluationRow

SOUND = MadeUp(losses=(1.0, 0.5, 0.25))
LOST = MadeUp(accuracies=(0.5, 0.6, 0.0), losses=(2.0, 3.0, nan))
"""It diverges in its third round; the target of 80 % is never reached."""
STOPPED = MadeUp(accuracies=(0.5, 0.0), losses=(2.0, inf), status="diverged")
"""It was asked to stop after its second round."""


def made(tmp_path: Path, run: MadeUp) -> analysis.Run:
    return analysis.load(run.write(tmp_path / "run", 1))


def sweep(tmp_path: Path, seeds: int = 1) -> Path:
    """A sound arm, and one in which the first seed diverged and stopped, the others diverged later or not at all."""
    lost = {1: STOPPED, **dict.fromkeys(range(2, seeds + 1), SOUND), **({2: LOST} if seeds > 1 else {})}
    return write_sweep(tmp_path / "sweep", {"sound": dict.fromkeys(range(1, seeds + 1), SOUND), "lost": lost})


@pytest.mark.parametrize(
    ("losses", "since"),
    [
        ((1.0, 2.0, 3.0), None),
        ((1.0, nan, inf), 1),
        ((nan, nan, nan), 0),
        ((1.0, inf, 2.0), None),
        ((inf, 2.0, nan), 2),
        ((), None),
    ],
)
def test_the_round_since_which_the_loss_is_not_finite(
    losses: Sequence[float], since: int | None, tmp_path: Path
) -> None:
    """Whether it is infinite or NaN; a loss that becomes finite again has not diverged."""
    assert made(tmp_path, MadeUp(losses=losses)).diverged_from() == since


def test_a_dry_run_has_not_diverged(tmp_path: Path) -> None:
    """Its missing values are no NaNs."""
    run = made(tmp_path, MadeUp(accuracies=(None,) * 3, losses=(None,) * 3))  # type: ignore[arg-type]
    assert run.diverged_from() is None
    assert observe(run, Goal("loss")).keys() == {"mean_latency_s", "p95_latency_s"}


@pytest.mark.parametrize("run", [LOST, STOPPED])
def test_a_diverged_run_never_reaches_a_target(run: MadeUp, tmp_path: Path) -> None:
    """However little it had spent; what it reached before that, it has reached."""
    loaded = made(tmp_path, run)
    for target, expected in ((0.8, Outcome(inf, False)), (0.5, Outcome(1.0, True))):
        assert observe(loaded, Goal(target=target))["time_to_target_s"] == expected
    missed = observe(loaded, Goal(target=0.8))
    assert {missed[f"{what}_to_target{unit}"] for what, unit in (("energy", "_j"), ("bits", ""))} == {(inf, False)}
    assert loaded.time_to("loss", 1.0) is None


def test_losses_that_are_not_finite_are_above_all_others(tmp_path: Path) -> None:
    """Nor is the mean of the last evaluations taken over those alone that are."""
    run = made(tmp_path, MadeUp(accuracies=(0.5,) * 4, losses=(1.0, 2.0, 3.0, nan)))
    found = observe(run, Goal("loss", 0.1))
    assert found["final_value"] == found["late_value"] == (inf, False)
    assert isnan(measures.late_mean(pd.Series([1.0, 2.0, 3.0, nan])))
    assert measures.late_mean(pd.Series([1.0, nan, 2.0])) == 2.0


def test_a_comparison_says_who_diverged_and_since_when(tmp_path: Path) -> None:
    """The order of a pair is known where one diverged, although it stopped before the other reached the target."""
    found = analysis.compare([sweep(tmp_path, seeds=6)], target=0.8)
    text = str(found)
    assert (
        "Warning: lost diverged in 2 of 6 runs, which reach no target any more: the loss is not finite from round 1 on "
        "with seed 1, from round 2 on with seed 2." in text
    )
    assert "80% accuracy was not reached by one arm or both in 2 of 6 pairs: lost has the lower time to" in text
    assert "lost has the lower time to 80% accuracy in 0 of 2 pairs whose order is known (sign test p = 0.5)." in text


def test_a_mean_of_final_losses_says_how_many_are_none(tmp_path: Path) -> None:
    found = analysis.compare([sweep(tmp_path, seeds=6)], metric="loss", target=0.3)
    row = next(row for row in found.rows if row.measure == "final_value" and row.arm == "lost")
    assert (row.mean, row.seeds, row.reached, row.pairs_reached, row.more) == (0.25, 6, 4, 4, 2)
    text = str(found)
    assert "Finite in" in text
    assert "4 of 6" in text
    assert (
        "the final loss of one arm or both is not finite in 2 of 6 pairs: lost has the lower final loss in 0 of 2"
        in text
    )
    assert "Finite in" not in str(analysis.compare([sweep(tmp_path / "other", seeds=6)]))


def test_runs_that_stopped_are_compared_like_those_that_went_on(tmp_path: Path) -> None:
    """In a sweep and by themselves, where an interrupted one is left out."""
    other = MadeUp(scenario={"other": 1}).write(tmp_path / "other", 1)
    stopped = STOPPED.write(tmp_path / "stopped", 1)
    found = analysis.compare([stopped, other])
    assert [row.reached for row in found.rows if row.measure == "time_to_target_s"] == [0, 1]
    assert not [warning for warning in found.warnings if "left out" in warning]
    assert len(analysis.load_sweep(sweep(tmp_path)).runs) == 2


def test_the_target_within_reach_is_that_of_runs_that_did_not_diverge(tmp_path: Path) -> None:
    runs = list(analysis.load_sweep(sweep(tmp_path, seeds=2)).runs.values())
    assert hardest_common_goal(runs).target == 0.9
    assert hardest_common_goal(runs, "loss").target == 0.25
    lost = [run for run in runs if run.diverged_from() is not None]
    assert hardest_common_goal(lost, "loss") == Goal("loss")


@pytest.mark.parametrize(
    ("claim", "mean", "verdict"),
    [
        ({"arm": "sound", "against": "lost", "measure": "time_to_target_s", "at_most": 0.0}, -inf, "holds"),
        ({"arm": "lost", "against": "sound", "measure": "time_to_target_s", "at_most": 0.0}, inf, "does not hold"),
        ({"arm": "lost", "against": "lost", "measure": "time_to_target_s", "at_most": 0.0}, nan, "does not hold"),
        ({"arm": "lost", "measure": "late_value", "metric": "loss", "at_most": 9.0}, inf, "does not hold"),
    ],
)
def test_a_claim_is_not_won_by_diverging(claim: dict[str, Any], mean: float, verdict: str, tmp_path: Path) -> None:
    (finding,) = judge([Claim(says="", **claim)], analysis.load_sweep(sweep(tmp_path)).runs, Goal())
    assert finding.mean == pytest.approx(mean, nan_ok=True)
    assert finding.verdict == verdict


def test_infinities_of_both_signs_have_no_mean(tmp_path: Path) -> None:
    made_up = {"one": {1: SOUND, 2: STOPPED}, "other": {1: STOPPED, 2: SOUND}}
    runs = analysis.load_sweep(write_sweep(tmp_path / "sweep", made_up)).runs
    claim = Claim(says="", arm="one", against="other", measure="time_to_target_s", at_most=0.0)
    (finding,) = judge([claim], runs, Goal())
    assert isnan(finding.mean)
    assert finding.verdict == "does not hold"


def test_the_report_of_a_sweep_says_it(tmp_path: Path) -> None:
    html = report.write(sweep(tmp_path, seeds=6)).read_text("utf-8")
    assert "Lost diverged in 2 of 6 runs, which reach no target any more" in html
    assert "reached by every run that did not diverge" in html
    assert "2 runs did not reach the target and have no dot." in html
    assert all(name in views(html) for name in ("learning", "cost-of-learning", "final-value-and-latency"))


def test_the_report_of_losses_alone_says_which_have_no_dot(tmp_path: Path) -> None:
    """Ends that are not finite are no targets that were missed."""
    lost = MadeUp(metric="loss", accuracies=(2.0, 3.0, nan, nan))
    sound = MadeUp(metric="loss", accuracies=(4.0, 1.0, 0.5, 0.25))
    path = write_sweep(tmp_path / "sweep", {"sound": {1: sound, 2: sound}, "lost": {1: lost, 2: sound}})
    html = report.write(path).read_text("utf-8")
    assert "1 runs did not reach the target and have no dot." in html
    assert "1 runs ended in a value that is not finite and have no dot." in html


def test_a_curve_goes_as_far_as_all_seeds_are_finite() -> None:
    """Two seeds, of which one is not from three seconds on, and one more that never is."""
    values = (4.0, 1.0, 0.5, 0.25), (2.0, 3.0, nan, inf), (nan,) * 4
    curve = over_seeds([pd.DataFrame({"time_s": [1.0, 2.0, 3.0, 4.0], "value": each}) for each in values])
    assert (curve.index[0], curve.index[-1]) == (1.0, 2.0)
    assert (curve["mean"].iloc[0], curve["mean"].iloc[-1]) == (3.0, 2.0)


def test_the_report_of_a_run_says_since_when(tmp_path: Path) -> None:
    """And draws what is finite."""
    path = Synthetic(rounds=3).write(tmp_path / "run")
    losses, accuracies = (2.0, nan, nan), (0.5, 0.0, 0.0)
    rows = [
        EvaluationRow(number, 30.0 * (number + 1), "test", metric, values[number], 360)
        for number in range(3)
        for metric, values in (("accuracy", accuracies), ("loss", losses), ("perplexity", (inf, nan, nan)))
    ]
    for part in (path / "traces" / "evaluations").iterdir():
        part.unlink()
    write_part(path, "evaluations", rows)
    html = report.write(path).read_text("utf-8")
    assert "The training diverged: the loss is not finite from round 1 on, and has no points there." in html
    assert '<div class="value">round 1</div>' in html
    assert "NaN" not in html.split("<details")[0].split("</script>")[-1]


def test_figures_leave_out_what_is_not_finite(tmp_path: Path) -> None:
    loaded = analysis.load_sweep(sweep(tmp_path, seeds=2))
    found, _ = arms([loaded])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pictures = [sweep_plots.curves(found, "loss", along) for along in sweep_plots.ALONG]
        pictures.append(plots.learning_curves({str(point): run for point, run in loaded.runs.items()}, "loss"))
        for picture in pictures:
            picture.savefig(tmp_path / "picture.png")
