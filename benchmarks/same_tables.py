"""Compare the tables of runs with those at another commit: `python -m benchmarks.same_tables COMMIT`.

The cases are each scheme under each policy that it allows, on the tiny scenario of the tests, and those of
same_tables.yaml. They are run with the code of the commit and with the code here. For each table that differs, the
first different column, row and both values are printed, and the exit code is 1. A new table without rows is no
difference. A case that only one of the two has, such as a scheme that the commit lacks, is named and not compared.

`--renamed FILE` is for commits between which names have changed. The YAML file maps old names to new ones:

    tables: {outages: absences}
    columns: {rounds: {dropped: excluded}}            # by the table's new name
    values: {absences.cause: {memory: out_of_memory}} # by the column's new name
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import yaml

ROOT = Path(__file__).parents[1]
CASES = "benchmarks/same_tables.yaml"


def main() -> None:
    """Compare two trees, or with --write run the cases with the tree that is the working directory."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    arguments.add_argument("commit")
    arguments.add_argument("--renamed", type=Path, help="names that have changed since")
    arguments.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.write:
        write(given.write)
        return
    renamed = yaml.safe_load(given.renamed.read_text()) if given.renamed else {}
    with TemporaryDirectory() as folder:
        then, now = Path(folder, "then"), Path(folder, "now")
        processes = [started(checked_out(given.commit, Path(folder, "tree")), then), started(ROOT, now)]
        if any(process.wait() for process in processes):
            raise SystemExit("the cases could not be run")
        for sentence in left_out(then, now):
            print(sentence)
        both = names(then, now)
        differing = [f"{case}: {what}" for case in both for what in differences(then, now, case, renamed)]
        print("\n".join(differing) or f"{len(both)} runs have the same tables as at {given.commit}")
    raise SystemExit(1 if differing else 0)


def checked_out(commit: str, tree: Path) -> Path:
    """Write the files of a commit to the folder `tree`, and return it."""
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as files:
        files.extractall(tree, filter="data")
    return tree


def started(tree: Path, out: Path) -> subprocess.Popen[bytes]:
    """Start a process that runs all cases with the code of a tree and writes the runs to `out`."""
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tree), str(tree / "tests")])}
    return subprocess.Popen([sys.executable, __file__, "-", "--write", out], cwd=tree, env=paths)


def write(out: Path) -> None:
    """Run all cases; one that fails writes its error instead of tables."""
    from scenarios import load, simulate

    for name, (file, overrides) in cases().items():
        try:
            simulate(load(file, overrides), out=out / name)
        except Exception as error:  # the error, of any type, is compared with the result of the other tree
            (out / name).mkdir(parents=True, exist_ok=True)
            (out / name / "error.txt").write_text(f"{type(error).__name__}: {error}")


def cases() -> dict[str, tuple[Path, dict[str, Any]]]:
    """Scenario file and overrides of each case, with the field names of the tree that is the working directory."""
    from learning.policies import IN_ROUNDS, POLICIES
    from learning.schemes import SCHEMES
    from runs import TINY, adjusted, policy

    found = {}
    for scheme in [name for name in SCHEMES if name != "flower"]:  # which needs an app
        found[scheme] = TINY, adjusted({"learning.scheme": scheme})
        asynchronous = getattr(SCHEMES[scheme], "asynchronous", False)  # older commits do not declare it
        for name in POLICIES if asynchronous else IN_ROUNDS:
            under = {field.replace("__", "."): value for field, value in policy(name, scheme).items()}
            found[f"{scheme} {name}"] = TINY, adjusted({"learning.scheme": scheme, "learning.executor": "dry", **under})
    own = Path(CASES)
    for name, case in yaml.safe_load((own if own.exists() else ROOT / CASES).read_text()).items():
        found[name] = Path(case["of"]), case["set"]
    return found


def names(then: Path, now: Path) -> list[str]:
    """Names of the cases that both trees have."""
    return sorted(_names(then) & _names(now))


def left_out(then: Path, now: Path) -> list[str]:
    """A sentence for each case that only one of the two trees has, which is not compared."""
    new = [f"{case}: not compared, as the commit does not have it" for case in sorted(_names(now) - _names(then))]
    return new + [f"{case}: not compared, as only the commit has it" for case in sorted(_names(then) - _names(now))]


def _names(runs: Path) -> set[str]:
    return {case.name for case in runs.iterdir()}


def differences(then: Path, now: Path, case: str, renamed: Mapping[str, Any]) -> Iterator[str]:
    """Yield one sentence for each table of a case that differs, or for its failure."""
    errors = {word: folder / case / "error.txt" for word, folder in (("then", then), ("now", now))}
    failed = [f"{word} it failed, {error.read_text()}" for word, error in errors.items() if error.exists()]
    if failed:
        yield "; ".join(failed)
        return
    hashes = [json.loads((folder / case / "run.json").read_text())["tables"] for folder in (then, now)]
    tables = {renamed.get("tables", {}).get(name, name): name for name in hashes[0]}
    for name in sorted(tables | dict.fromkeys(hashes[1])):
        old = tables.get(name)
        if old is None and hashes[1][name]["rows"] == 0:
            continue
        if old is None or name not in hashes[1]:
            yield f"table {name} is {'new' if old is None else 'gone'}"
        elif hashes[0][old] != hashes[1][name]:
            before = with_new_names(read(then / case, old), name, renamed)
            yield from (f"{name}: {what}" for what in first_difference(before, read(now / case, name)))


def read(run: Path, table: str) -> pd.DataFrame:
    return pd.read_parquet(run / "traces" / table)


def with_new_names(frame: pd.DataFrame, table: str, renamed: Mapping[str, Any]) -> pd.DataFrame:
    """Rename columns and values of an old table as they are now."""
    frame = frame.rename(columns=renamed.get("columns", {}).get(table, {}))
    for place, words in renamed.get("values", {}).items():
        of, _, column = place.partition(".")
        if of == table and column in frame:
            frame[column] = frame[column].replace(words)
    return frame


def first_difference(before: pd.DataFrame, after: pd.DataFrame) -> Iterator[str]:
    """Yield a sentence about the first difference of two tables; types and the order of columns are ignored."""
    if set(before) != set(after):
        yield f"columns {sorted(set(before) ^ set(after))} are new or gone"
    elif len(before) != len(after):
        yield f"{len(before)} rows have become {len(after)}"
    for column in before if set(before) == set(after) and len(before) == len(after) else ():
        differ = ~((before[column] == after[column]) | (before[column].isna() & after[column].isna()))
        if differ.any():
            row = int(differ.to_numpy().argmax())
            yield f"{column} in row {row}: {before[column].iloc[row]} has become {after[column].iloc[row]}"
            return


if __name__ == "__main__":
    main()
