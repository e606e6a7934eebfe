"""Schemes say what is computed and sent; what it costs is decided by the parties, from operations and codecs alone."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SCHEMES = Path(__file__).parents[1] / "learning" / "schemes"
SIZES = {"numel", "itemsize", "element_size", "nbytes", "parameter_count"}
"""How large a tensor or a model is."""
COSTS = {"cost", "charged", "flops", "memory_bytes", "wire"}
"""What an operation or a message is charged, by the executor or the wire."""
UNITS = ("flops", "bits")


def offences(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of each place where FLOPs, bits or bytes are read, computed or charged past the parties."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in SIZES | COSTS:
            yield node.lineno, f"reads .{node.attr}"
        elif isinstance(node, ast.Call) and _of_node(node.func):
            yield node.lineno, f"{ast.unparse(node.func)} is called past the party"
        elif isinstance(node, ast.BinOp | ast.AugAssign):
            operands = [node.left, node.right] if isinstance(node, ast.BinOp) else [node.target, node.value]
            yield from ((node.lineno, f"{ast.unparse(node)} is arithmetic") for each in operands if _amount(each))


def _of_node(called: ast.expr) -> bool:
    """Whether a method is one that spends time on a network node: compute, send, forward, broadcast."""
    if not isinstance(called, ast.Attribute) or called.attr not in {"compute", "send", "forward", "broadcast"}:
        return False
    return isinstance(called.value, ast.Attribute) and called.value.attr == "node"


def _amount(operand: ast.expr) -> bool:
    """Whether an operand is named after FLOPs or bits; a field of the scheme, such as a precision, is a setting."""
    if isinstance(operand, ast.Attribute):
        return not ast.unparse(operand).startswith("self.") and operand.attr.endswith(UNITS)
    return isinstance(operand, ast.Name) and operand.id.endswith(UNITS)


@pytest.mark.parametrize("file", sorted(SCHEMES.rglob("*.py")), ids=lambda file: str(file.relative_to(SCHEMES)))
def test_schemes_count_neither_flops_nor_bits(file: Path) -> None:
    assert list(offences(ast.parse(file.read_text()))) == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("size = sum(leaf.numel() for leaf in leaves)", "reads .numel"),
        ("size = 8 * leaf.itemsize", "reads .itemsize"),
        ("flops = world.executor.cost(plan).flops", "reads .cost"),
        ("work = 2 * world.executor.charged(model)", "reads .charged"),
        ("size = world.server.wire.bits(z, codec)", "reads .wire"),
        ("yield from user.node.compute(7, 'work')", "user.node.compute is called past the party"),
        ("yield from world.server.node.send(user.node, 7, 'x')", "world.server.node.send is called past the party"),
        ("total = count * label_bits", "count * label_bits is arithmetic"),
        ("total += plan.forward_flops", "total += plan.forward_flops is arithmetic"),
    ],
)
def test_what_is_forbidden_is_seen(line: str, found: str) -> None:
    assert found in [what for _, what in offences(ast.parse(line))]


def test_a_setting_of_the_scheme_is_no_amount() -> None:
    assert (
        list(offences(ast.parse("share = self.gradient_bits / 32\nyield from user.send(server, z, 'x', codec)"))) == []
    )
