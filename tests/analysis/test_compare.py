"""Whole comparisons of made-up runs: arms, tables, sentences and warnings."""

from pathlib import Path

import pytest
from made_up_sweep import MadeUp, write_sweep

import analysis
from analysis.comparison.arms import arms
from analysis.comparison.outcomes import hardest_common_goal

SEEDS = range(1, 7)
SPREAD = {seed: 1.0 + 0.5 * seed for seed in SEEDS}
"""Seconds of a round of the reference, by seed."""


def study(path: Path, factor: float = 0.5, seeds: range = SEEDS) -> Path:
    """Two arms: in the second, rounds take `factor` of the time, and the accuracies are the same."""
    slow = {seed: MadeUp(SPREAD[seed]) for seed in SEEDS}
    fast = {seed: MadeUp(factor * SPREAD[seed], energy_j=1.0) for seed in seeds}
    return write_sweep(path, {"slow": slow, "fast": fast})


def test_a_sweep_is_compared_label_by_label(tmp_path: Path) -> None:
    result = analysis.compare([study(tmp_path / "sweep")], target=0.8)
    table = result.table.set_index(["measure", "arm"])
    assert result.arms == ["slow", "fast"]
    assert table.loc[("time_to_target_s", "slow"), "mean"] == pytest.approx(2 * 2.75)  # 80 % after the second round
    assert table.loc[("time_to_target_s", "fast"), "relative"] == pytest.approx(-0.5)
    assert table.loc[("energy_to_target_j", "fast"), "difference"] == pytest.approx(-2.0)
    assert table.loc[("bits_to_target", "fast"), "mean"] == 300.0
    assert table.loc[("p95_latency_s", "slow"), "mean"] == pytest.approx(2.75)
    assert result.sentences == [
        "fast reaches 80% accuracy 50.0% sooner than slow (95% CI 50.0 to 50.0%, 6 paired seeds).",
        "fast uses 50.0% less energy to 80% accuracy than slow (95% CI 50.0 to 50.0%, 6 paired seeds).",
        "fast and slow have exactly the same bits to 80% accuracy in 6 paired seeds.",
        "fast and slow have exactly the same final accuracy in 6 paired seeds.",
        "fast has rounds 50.0% shorter on average than slow (95% CI 50.0 to 50.0%, 6 paired seeds).",
        "fast has a 95th percentile of round latency 50.0% lower than slow (95% CI 50.0 to 50.0%, 6 paired seeds).",
    ]
    assert result.warnings == []
    assert set(result.outcomes["seed"]) == set(SEEDS)


def test_it_prints_as_plain_text(tmp_path: Path) -> None:
    text = str(analysis.compare([study(tmp_path / "sweep")], target=0.8))
    assert text.splitlines()[:4] == [
        "Time to 80% accuracy",
        "Arm   Mean (s)  Reached in  Difference           95% CI  Pairs  Variance less by",
        "slow      5.50      6 of 6   reference                –      –                 –",
        "fast      2.75      6 of 6      -50.0%  -50.0 to -50.0%      6               80%",
    ]
    assert max(map(len, text.splitlines())) <= 120


def test_plain_runs_form_arms_by_their_scenarios(tmp_path: Path) -> None:
    """Neither the seed nor the name parts them; what does is what they are called by."""
    paths = [
        MadeUp(
            latency, name=f"try {seed}", scenario={"network": {"uplink": {"bandwidth_mhz": bandwidth}, "count": 3}}
        ).write(tmp_path / f"{bandwidth}-{seed}", seed)
        for bandwidth, latency in ((5, 2.0), (10, 1.0))
        for seed in (1, 2)
    ]
    found, warnings = arms(paths)
    assert [(arm.label, list(arm.runs)) for arm in found] == [
        ("uplink.bandwidth_mhz=5", [1, 2]),
        ("uplink.bandwidth_mhz=10", [1, 2]),
    ]
    assert warnings == []


def test_names_that_tell_arms_apart_are_their_labels(tmp_path: Path) -> None:
    runs = [MadeUp(name=name, scenario={"users": name}).write(tmp_path / name, 1) for name in ("few", "many")]
    assert [arm.label for arm in arms(runs)[0]] == ["few", "many"]


def test_arms_that_differ_in_much_go_by_their_directory(tmp_path: Path) -> None:
    runs = [MadeUp(scenario=dict.fromkeys("abcd", value)).write(tmp_path / f"run-{value}", 1) for value in (1, 2)]
    assert [arm.label for arm in arms(runs)[0]] == [str(run) for run in runs]


def test_the_last_part_of_a_field_named_name_is_left_out(tmp_path: Path) -> None:
    wait = MadeUp(scenario={"learning": {"policy": {"name": "wait_for_all"}}}).write(tmp_path / "wait", 1)
    first = MadeUp(scenario={"learning": {"policy": {"name": "first_k", "k": 9}}}).write(tmp_path / "first", 1)
    assert [arm.label for arm in arms([wait, first])[0]] == ["policy=wait_for_all", "policy=first_k, policy.k=9"]


def test_two_sweeps_may_use_the_same_label(tmp_path: Path) -> None:
    one, two = study(tmp_path / "one"), analysis.load_sweep(study(tmp_path / "two"))
    assert [arm.label for arm in arms([one, two])[0]] == ["slow", "fast", "slow (2)", "fast (2)"]


def test_what_is_left_out_is_named(tmp_path: Path) -> None:
    run = MadeUp(scenario={"users": 1})
    sweep = write_sweep(tmp_path / "sweep", {"a": {1: run}}, broken={("a", 2): "no power", ("a", 3): None})
    died = MadeUp(status="failed").write(tmp_path / "died", 1)
    once, twice = run.write(tmp_path / "once", 1), run.write(tmp_path / "twice", 1)
    _, warnings = arms([sweep, died, once, twice])
    assert warnings == [
        "of 3 points of made up, 2 left out: a, seed 2 (failed: no power); a, seed 3 (pending)",
        f"{died} is left out: it is failed, not complete",
        f"{twice} is left out: {once} is the same scenario with the same seed",
    ]


def test_unequal_and_few_seeds_are_warned_of(tmp_path: Path) -> None:
    result = analysis.compare([study(tmp_path / "sweep", seeds=range(5, 7))])
    assert result.warnings == [
        "seeds 1, 2, 3, 4 of slow left out of the differences, as fast has no such run: without equal seeds there are "
        "no common random numbers",
        "too few paired seeds for an interval, at least 5 are needed: fast (2)",
    ]


def test_many_intervals_are_warned_of(tmp_path: Path) -> None:
    runs = {seed: MadeUp(SPREAD[seed]) for seed in SEEDS}
    result = analysis.compare([write_sweep(tmp_path / "sweep", dict.fromkeys("abcde", runs))])
    assert result.warnings == ["of 24 intervals some miss by chance: a single one that excludes zero is weak evidence"]


def test_a_target_missed_in_some_seeds_is_in_the_table(tmp_path: Path) -> None:
    arm = {seed: MadeUp(accuracies=(0.5, 0.7 if seed == 1 else 0.9)) for seed in SEEDS}
    sweep = write_sweep(tmp_path / "sweep", {"a": arm, "b": arm})
    table = analysis.compare([sweep], target=0.8).table.set_index("measure")
    assert table.loc["time_to_target_s", "reached"].tolist() == [5, 5]
    assert table.loc["final_value", "reached"].tolist() == [6, 6]
    assert table.loc["time_to_target_s", "pairs_reached"].tolist() == [0, 5]


def test_dry_runs_are_compared_by_their_rounds(tmp_path: Path) -> None:
    arm = {seed: MadeUp(accuracies=(None, None)) for seed in SEEDS}
    result = analysis.compare([write_sweep(tmp_path / "sweep", {"a": arm, "b": arm})])
    assert set(result.table["measure"]) == {"mean_latency_s", "p95_latency_s"}
    assert result.warnings == [f"{arm} has no accuracy on test with seed 1, 2, 3, 4, 5 and 1 more" for arm in "ab"]


def test_a_loss_has_to_fall(tmp_path: Path) -> None:
    arm = {seed: MadeUp(accuracies=(2.0, 1.0, 0.4), metric="loss") for seed in SEEDS}
    result = analysis.compare([write_sweep(tmp_path / "sweep", {"a": arm, "b": arm})], target=1.0, metric="loss")
    assert "Time to loss 1\n" in str(result)
    assert result.table.set_index("measure").loc["time_to_target_s", "mean"].tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    ("metric", "beside", "goal"),
    [
        ("accuracy", ["loss"], "200% accuracy"),
        ("perplexity", ["loss", "accuracy"], "perplexity 0.4"),  # of language models; the hardest that all reached
        ("mae", [], "mae 0.4"),
    ],
)
def test_metric_and_target_are_those_of_the_task(tmp_path: Path, metric: str, beside: list[str], goal: str) -> None:
    arm = {seed: MadeUp(accuracies=(2.0, 1.0, 0.4), metric=metric, beside=beside) for seed in SEEDS}
    folder = write_sweep(tmp_path / "sweep", {"a": arm, "b": arm})
    assert f"Time to {goal}\n" in str(analysis.compare([folder]))
    assert f"Time to {metric} 3\n" in str(analysis.compare([folder], target=3.0)) or metric == "accuracy"


def test_a_metric_never_evaluated_is_an_error_that_names_the_others(tmp_path: Path) -> None:
    with pytest.raises(analysis.NotRecorded, match="evaluated were: accuracy on test"):
        analysis.compare([study(tmp_path / "sweep")], metric="acuracy")


def test_one_arm_is_nothing_to_compare(tmp_path: Path) -> None:
    runs = [MadeUp().write(tmp_path / f"run-{seed}", seed) for seed in (1, 2)]
    with pytest.raises(analysis.NotComparable, match="all runs are of one arm, made up"):
        analysis.compare(runs)
    died = MadeUp(status="failed").write(tmp_path / "died", 1)
    with pytest.raises(analysis.NotComparable, match=r"no complete run is left; .*died is left out: it is failed"):
        analysis.compare([died])


def test_a_folder_that_is_neither_is_named(tmp_path: Path) -> None:
    with pytest.raises(analysis.NotARun, match=r"is neither a run nor a sweep: it has no run\.json and no sweep\.json"):
        analysis.compare([tmp_path])
    with pytest.raises(analysis.NotARun, match="nowhere is not a folder"):
        analysis.compare([tmp_path / "nowhere"])


@pytest.mark.parametrize(
    ("metric", "histories", "target"),
    [("accuracy", [(0.5, 0.857), (0.9, 0.7)], 0.85), ("accuracy", [(0.037,)], 0.037), ("loss", [(2.0, 0.432)], 0.44)],
)
def test_a_target_within_reach_of_all(tmp_path: Path, metric: str, histories: list, target: float) -> None:
    paths = [
        MadeUp(accuracies=history, metric=metric).write(tmp_path / str(seed), seed)
        for seed, history in enumerate(histories)
    ]
    assert hardest_common_goal(map(analysis.load, paths), metric).target == target


def seeded(path: Path, **arms_of: dict[str, int]) -> Path:
    """Arms of two seeds each, whose scenarios have these seeds of single sources."""
    both = {label: {"seeds": {**dict.fromkeys(("partition", "network")), **own}} for label, own in arms_of.items()}
    return write_sweep(
        path, {label: {seed: MadeUp(scenario=scenario) for seed in (1, 2)} for label, scenario in both.items()}
    )


def test_sources_without_seeds_of_their_own_are_shared_by_the_seed(tmp_path: Path) -> None:
    shared = "Shared by runs of the same seed: partition, weights, network, batches."
    assert analysis.compare([seeded(tmp_path / "new", a={}, b={})]).pairing == shared
    assert analysis.compare([study(tmp_path / "old")]).pairing == shared  # scenarios that have no section `seeds`


def test_what_is_held_still_and_what_is_not_paired_is_named(tmp_path: Path) -> None:
    result = analysis.compare([seeded(tmp_path / "sweep", a={"partition": 5}, b={"partition": 5, "network": 9})])
    assert result.pairing.splitlines() == [
        "Shared by runs of the same seed: weights, batches.",
        "The same in all runs, so that intervals do not include its variance: partition (seed 5).",
        "Drawn by other seeds than in a, and not paired: network of b.",
    ]
    assert result.pairing in str(result)


def test_a_source_that_one_arm_draws_otherwise_is_shared_by_the_others(tmp_path: Path) -> None:
    result = analysis.compare([seeded(tmp_path / "sweep", a={}, b={"partition": 9}, c={}, d={"network": 4})])
    assert result.pairing.splitlines() == [
        "Shared by runs of the same seed: partition of a, c, d, weights, network of a, b, c, batches.",
        "Drawn by other seeds than in a, and not paired: partition of b, network of d.",
    ]


def test_runs_of_different_seeds_share_only_sources_with_equal_seeds_of_their_own(tmp_path: Path) -> None:
    def compared(**own: dict[str, int]) -> str:
        arms = {seed: {"learning": {"batch_size": seed}, **own} for seed in (1, 2)}
        folder = tmp_path / f"{len(own)}"
        runs = [MadeUp(scenario=arm).write(folder / str(seed), seed) for seed, arm in arms.items()]
        return analysis.compare(runs).pairing

    assert compared() == ""
    same = "The same in all runs, so that intervals do not include its variance: weights (seed 4)."
    assert compared(seeds={"weights": 4}) == same
