"""Malformed scenario files: `run` and `check` exit 2 with one sentence of file, line, field, remedy; nothing runs."""

import os
from pathlib import Path

import pytest

FADING = "network.channel.fading"
SMALL = """\
name: small
learning:
  scheme: sfl_v1
  stop: {rounds: 2}
"""

BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{previous}'] * 10)}]\n"
    for previous, name in zip("abcdefghi", "bcdefghij", strict=True)
)

# What the file says -> line (0: none) and beginning of the sentence behind `file:line: `.
CASES: dict[str, tuple[str, int, str]] = {
    # types
    "text for a whole number": (
        SMALL + "network: {users: {count: twelve}}",
        5,
        'network.users.count: found "twelve"; a',
    ),
    "quoted number": (SMALL + "network: {users: {count: '12'}}", 5, 'network.users.count: found "12"; a whole number'),
    "fraction for a whole number": (
        SMALL + "network: {users: {count: 2.5}}",
        5,
        "network.users.count: found 2.5; a",
    ),
    "boolean for a number": (SMALL + "network: {users: {count: true}}", 5, "network.users.count: found true; a"),
    "list for a number": (
        SMALL + "network: {users: {count: [1]}}",
        5,
        "network.users.count: found a list of 1; a",
    ),
    "section for a number": (
        SMALL + "network: {users: {count: {a: 1}}}",
        5,
        "network.users.count: found a section; a",
    ),
    "nothing for a number": (
        SMALL + "network:\n  users:\n    count:\n",
        7,
        "network.users.count: found nothing; a",
    ),
    "number for a name": ("name: 5\n", 1, "name: found 5; text is allowed; put it in quotes"),
    "number for a section": (SMALL + "network: 5\n", 5, "network: found 5; a section with"),
    "null section": (SMALL + "network:\n", 5, "network: found nothing; a section with"),
    "list for a section": (SMALL + "network:\n- users\n", 5, "network: found a list of 1; a section with"),
    "number for a part": (SMALL + "network: {channel: {fading: 3}}", 5, "network.channel.fading: found 3; one of none"),
    "on is text": (SMALL + "seed: on\n", 5, 'seed: found "on"; a whole number >= 0 is allowed'),
    "date": (SMALL + "seed: 2024-01-01\n", 5, 'seed: found "2024-01-01"; a whole number'),
    # units and ranges
    "unit": (
        SMALL + "network:\n  sharing:\n    uplink: {bandwidth_mhz: 10 MHz}\n",
        7,
        'network.sharing.uplink.bandwidth_mhz: found "10 MHz"; a number >= 0.0001 and <= 100000 is allowed; write the',
    ),
    "negative seed": (SMALL + "seed: -1\n", 5, "seed: found -1; a whole number >= 0 is allowed"),
    "no users": (SMALL + "network: {users: {count: 0}}", 5, "network.users.count: found 0; a whole number >= 1"),
    "negative bandwidth": (
        SMALL + "network: {sharing: {uplink: {bandwidth_mhz: -1}}}",
        5,
        "network.sharing.uplink.bandwidth_mhz: found -1; a number >= 0.0001",
    ),
    "accuracy above one": (
        "learning:\n  scheme: sl\n  stop: {accuracy: 90}\n",
        3,
        "learning.stop.accuracy: found 90; a number",
    ),
    "not a number": (
        SMALL + "network: {channel: {fading: {name: rayleigh, coherence_time_s: .nan}}}",
        5,
        "network.channel.fading.coherence_time_s: found not-a-number; a number >= 1e-06",
    ),
    "infinity": (
        SMALL + "network: {channel: {carrier_ghz: .inf}}",
        5,
        "network.channel.carrier_ghz: found infinity; a number",
    ),
    "overflow": (
        SMALL + "network: {channel: {carrier_ghz: 1e999}}",
        5,
        "network.channel.carrier_ghz: found infinity; a number",
    ),
    "enormous whole number": (SMALL + f"seed: {'9' * 5000}\n", 5, "found a whole number of more than 100 digits"),
    # names
    "unknown section": (
        SMALL + "netwrok: {}\n",
        5,
        'unknown field "netwrok"; nearest is "network"; allowed: name, seed',
    ),
    "unknown field": (
        SMALL + "network:\n  sharing:\n    uplink:\n      bandwith_mhz: 10\n",
        8,
        'network.sharing.uplink: unknown field "bandwith_mhz"; nearest is "bandwidth_mhz"; allowed',
    ),
    "unknown scheme": (
        "learning:\n  scheme: sfl_v3\n  stop: {rounds: 2}\n",
        2,
        'learning.scheme: unknown scheme "sfl_v3"; nearest is "sfl_v2"; allowed: centralised',
    ),
    "unknown scheme by name": (
        "learning:\n  stop: {rounds: 2}\n  scheme:\n    name: nonsense\n",
        4,
        'learning.scheme: unknown scheme "nonsense"; allowed: centralised',
    ),
    "field of another part": (
        SMALL + "network: {channel: {fading: {name: none, coherence_time_s: 1}}}",
        5,
        'network.channel.fading: unknown field "coherence_time_s"; allowed: name',
    ),
    "name that is no folder": ("name: ../../etc\n", 1, 'the name "../../etc" cannot name a folder; use letters'),
    # missing and contradictory
    "no scheme": (
        "learning:\n  stop: {rounds: 2}\n",
        1,
        "learning: the field scheme is missing; one of centralised, fedavg",
    ),
    "no stop": ("learning:\n  scheme: sl\n", 1, "learning: the field stop is missing; a section with rounds, time_s"),
    "empty stop": ("learning:\n  scheme: sl\n  stop: {}\n", 3, "learning.stop: no criterion is given; give rounds"),
    "low above high": (
        SMALL + "compute: {devices: {flops_per_s: {name: uniform, low: 2.0, high: 1.0}}}",
        5,
        "compute.devices.flops_per_s: low (2) must not exceed high (1)",
    ),
    "dry run to an accuracy": (
        "learning: {scheme: sl, executor: dry, stop: {accuracy: 0.9}}",
        1,
        "learning: stop.accuracy needs values",
    ),
    # YAML
    "empty": ("", 0, "the file is empty; a scenario is lines of"),
    "comments only": ("# nothing\n\n", 1, "found nothing; a scenario is lines of"),
    "list at the root": ("- name: a\n", 1, "found a list of 1; a scenario is lines of"),
    "text at the root": ("just words\n", 1, 'found "just words"; a scenario is lines of'),
    "tabs": (
        "name: a\nnetwork:\n\tusers: 1\n",
        3,
        "found character '\\t' that cannot start any token; indent",
    ),
    "bad indentation": ("name: a\n  seed: 3\n", 2, "mapping values are not allowed here; is a colon missing above"),
    "open bracket": ("name: a\nnetwork: [1, 2\nseed: 1\n", 3, "expected ',' or ']', but got ':'; is a closing bracket"),
    "open quote": ('name: "a\nseed: 1\n', 3, "found unexpected end of stream; is a closing quote missing?"),
    "duplicate field": ("name: a\nseed: 1\nname: b\n", 3, "name: found the field twice, first at"),
    "duplicate inner field": (
        "network:\n  users: {count: 1, count: 2}\n",
        2,
        "network.users.count: found the field twice",
    ),
    "two documents": ("name: a\n---\nname: b\n", 2, "found a second document (---); one file is one scenario"),
    "number as a field name": ("name: a\n1: 2\n", 2, "found 1 as the name of a field; names are text"),
    "list as a field name": ("name: a\n[1, 2]: 2\n", 2, "found a section as the name of a field; names are text"),
    "merge key": ("name: a\n<<: {seed: 1}\n", 2, 'unknown field "<<"; allowed'),
    "unknown alias": ("name: *a\n", 1, "found undefined alias 'a'; text that begins with * needs quotes"),
    "alias bomb": (BOMB, 1, "more than 100000 values or 30 levels; does an alias (*) repeat itself?"),
    "alias of itself": ("a: &a [*a]\n", 1, "more than 100000 values or 30 levels; does an alias (*) repeat itself?"),
    "deep lists": ("name: " + "[" * 5000, 1, "nested deeper than 30 levels; no field of a scenario is"),
    "deep sections": ("".join(" " * depth + "a:\n" for depth in range(500)), 30, "nested deeper than 30 levels"),
    "null character": ("name: a\nseed: \0\n", 2, "found the character #x00, which is not text; is this a YAML file?"),
    "template": ("name: {{ name }}\n", 1, "found a section as the name of a field; names are text"),
}


def one_sentence(err: str) -> str:
    """The single line on stderr."""
    assert "Traceback" not in err
    assert err.endswith("\n")
    assert err.count("\n") == 1
    return err[:-1]


@pytest.mark.parametrize("case", CASES)
def test_malformed_files_are_refused_with_one_sentence(case: str, tmp_path: Path, netsim) -> None:
    text, line, sentence = CASES[case]
    file = tmp_path / "case.yaml"
    file.write_text(text)
    code, out, err = netsim("run", file, "-o", tmp_path / "run")
    place = f"{file}:{line}: " if line else f"{file}: "
    assert one_sentence(err).startswith(place + sentence)
    assert (code, out) == (2, "")
    assert netsim("check", file) == (code, out, err)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        (
            "compute: {devices: {flops_per_s: [1, 2]}}",
            5,
            "compute.devices.flops_per_s: the list for device speed has 2",
        ),
        ("compute: {devices: {flops_per_s: -1}}", 5, "compute.devices.flops_per_s: the device speed of user 0 is -1"),
        (
            "network:\n  users:\n    tx_power_dbm: [20]",
            7,
            "network.users.tx_power_dbm: the list for transmit power has 1",
        ),
        ("network:\n  users:\n    placement: [[0, 9]]", 7, "network.users.placement: "),
        ("compute: {stragglers: {slowdown: {name: list, factors: [2]}}}", 5, "compute.stragglers.slowdown: "),
        ("learning:\n  scheme: sl\n  cut: 3\n  stop: {rounds: 1}", 7, "learning.cut: cut 3 does not leave a block"),
        (
            "learning: {scheme: sl, stop: {rounds: 1}, partition: {name: shards, per_user: 999}}",
            5,
            "learning.partition: ",
        ),
    ],
)
def test_fields_that_do_not_fit_each_other(text: str, line: int, sentence: str, tmp_path: Path, netsim) -> None:
    """Each field is valid on its own; the error at the building of the world names the one that does not fit."""
    file = tmp_path / "case.yaml"
    file.write_text(f"name: case\n#\n#\n#\n{text}\n")
    code, out, err = netsim("run", file, "-o", tmp_path / "run")
    assert one_sentence(err).startswith(f"{file}:{line}: {sentence}")
    assert (code, out) == (2, "")
    assert netsim("check", file) == (code, out, err)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.mkdir [MARK]",
        "!!python/object/new:os.mkdir [MARK]",
        "!!python/name:os.mkdir",
        "!!python/module:antigravity",
        "!include MARK",
        "!!binary aGVsbG8=",
        "!!set {a}",
        "!!str 12",
    ],
)
def test_tags_run_nothing(tag: str, tmp_path: Path, netsim) -> None:
    mark = tmp_path / "mark"
    file = tmp_path / "case.yaml"
    file.write_text(f"name: a\nseed: {tag.replace('MARK', str(mark))}\n")
    code, _, err = netsim("run", file, "-o", tmp_path / "run")
    assert one_sentence(err).startswith(f"{file}:2: the tag ")
    assert "is not allowed; a scenario holds plain values only" in err
    assert code == 2
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"PAR1\x00\x01\x02\xff\xfe\xfd", "1: found bytes that are not UTF-8 text; is this a YAML file?"),
        (b"name: a\n# caf\xe9\n", "2: found bytes that are not UTF-8 text"),
        ("name: a\n".encode("utf-16"), "1: found bytes that are not UTF-8 text"),
        (b"# 0123456789\n" * 800_000, " the file is larger than 1000000 bytes; is this a scenario file?"),
    ],
    ids=["binary", "latin-1", "utf-16", "10 MB"],
)
def test_files_that_are_no_text(content: bytes, sentence: str, tmp_path: Path, netsim) -> None:
    file = tmp_path / "case.yaml"
    file.write_bytes(content)
    code, _, err = netsim("run", file, "-o", tmp_path / "run")
    assert one_sentence(err).startswith(f"{file}:{sentence}")
    assert code == 2


def test_files_that_are_not_there(tmp_path: Path, netsim) -> None:
    (tmp_path / "quickstart.yaml").write_text(SMALL)
    os.mkfifo(tmp_path / "pipe")
    for name, sentence in {
        "quikstart.yaml": f"there is no such file; did you mean {tmp_path / 'quickstart.yaml'}?",
        "else": "there is no such file; is the path right?",
        "none/quickstart.yaml": f"there is no folder {tmp_path / 'none'}; name an existing scenario file",
        "": "this is a folder; name a scenario file in it, such as quickstart.yaml",
        "pipe": "this is not a regular file; name a scenario file",
    }.items():
        code, _, err = netsim("check", tmp_path / name)
        assert one_sentence(err) == f"{tmp_path / name}: {sentence}"
        assert code == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--set", "network.users.count=twelve"],
            '--set network.users.count=twelve: found "twelve"; a whole number >= 1',
        ),
        (
            ["--set", "network.user.count=2"],
            '--set network.user.count=2: network: unknown field "user"; nearest is "users"',
        ),
        (
            ["--set", "learning.scheme.name=fedavgg"],
            "--set learning.scheme.name=fedavgg: learning.scheme: unknown scheme",
        ),
        (["--set", "seed"], "--set seed: found no `=`; write --set network.users.count=20"),
        (["--seed", "-3"], "--set seed=-3: found -1"[:15]),
        (["--seed", "x"], "netsim: Invalid value for '--seed'"),
        (["--sed", "3"], "netsim: No such option: --sed"),
        (
            ["--set", "learning.cut=9"],
            "--set learning.cut=9: learning.cut: cut 9 does not leave a block",
        ),
        (
            ["--set", "learning.policy.name=first_k", "--set", "learning.policy.k=9"],
            "--set learning.policy.name=first_k: learning.policy: the policy waits for the first 9 users",
        ),
        (
            ["--set", "learning.data.name=cifar10"],
            "--set learning.data.name=cifar10: learning.data: CIFAR-10 is",
        ),
    ],
)
def test_wrong_arguments(arguments: list[str], sentence: str, small: Path, tmp_path: Path, netsim, monkeypatch) -> None:
    monkeypatch.setenv("NETSIM_DATA", str(tmp_path / "no data"))
    code, out, err = netsim("run", small, "-o", tmp_path / "run", *arguments)
    assert one_sentence(err).startswith(sentence)
    assert (code, out) == (2, "")
    if "No such option" not in sentence:  # of which the nearest are others
        assert netsim("check", small, *arguments) == (code, out, err)
    assert not (tmp_path / "run").exists()
