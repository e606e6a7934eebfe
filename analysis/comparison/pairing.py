"""Which sources of randomness runs of the same seed share, so that their differences do not include its variance."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.comparison.arms import Arm
from analysis.files import DamagedRun
from analysis.run import Run

SOURCES = ("partition", "weights", "network", "batches")
"""Sources of randomness that may have a seed of their own, the fields of the section `seeds` of a scenario."""


def pairing(found: Sequence[Arm]) -> str:
    """Return in sentences which sources are paired by seed, which are the same in all runs, and which are not paired.

    Args:
        found: the arms, the reference first.
    """
    first, *others = found
    paired, held, apart = [], [], []
    common = any({*first.runs} & {*arm.runs} for arm in others)
    several = any(len(arm.runs) > 1 for arm in found)
    for source in SOURCES:
        seeds = {arm.label: {seed: _seed_of(run, source) for seed, run in arm.runs.items()} for arm in found}
        unlike = [
            arm.label
            for arm in others
            if any(seeds[first.label].get(seed, own) != own for seed, own in seeds[arm.label].items())
        ]
        like = [label for label in seeds if label not in unlike]
        every = {own for label in like for own in seeds[label].values()}
        name = f"{source} of {', '.join(like)}" if unlike else source
        if unlike:
            apart.append(f"{source} of {', '.join(unlike)}")
        if len(like) < 2:
            continue
        if len(every) == 1 and (several or not common):
            held.append(f"{name} (seed {every.pop()})")
        elif common:
            paired.append(name)
    sentences = {
        "Shared by runs of the same seed": paired,
        "The same in all runs, so that intervals do not include its variance": held,
        f"Drawn by other seeds than in {first.label}, and not paired": apart,
    }
    return "\n".join(f"{says}: {', '.join(names)}." for says, names in sentences.items() if names)


def _seed_of(run: Run, source: str) -> int | None:
    """Seed of a source in a run; None if its scenario cannot be read."""
    try:
        own = (run.scenario.get("seeds") or {}).get(source)
        return run.seed if own is None else own
    except DamagedRun:
        return None
