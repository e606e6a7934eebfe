"""Content keys: the identity of a value, by the whole history of its computation.

A key is a hash of the operation, the code that it runs, its plain arguments, the shapes and formats of its tensors, the
names of data and draws that enter it, and the keys of the values that it builds on. Equal keys mean equal values, bit
for bit: so the version of torch, the processor's instruction set, the device and the kind of executor are in a key too.

Code is hashed as compiled, without documentation, and with everything of the same packages that it refers to:
functions, classes, constants. A comment changes no key; a constant does. Objects that it refers to or captures, such
as tensors in a closure, are hashed by their content; functions and classes of libraries by their names.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass
from functools import cache, partial
from hashlib import blake2b
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any
from weakref import ref

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten

from learning.executor import processor
from learning.executor.deferred import Deferred, specification, to_meta
from learning.executor.devices import of_device

KEY_BYTES = 16
HOME = __name__.partition(".")[0]
"""Code of this package is followed into; that of libraries is named by their versions."""
_CACHED = type(cache(len))
"""What `functools.cache` makes of a function. Other decorators do something of their own, and are code as well."""
PLAIN = (int, float, complex, str, bytes, bool, type(None), torch.dtype)
CODE = (FunctionType, MethodType, BuiltinFunctionType, partial, type)


def digest(*parts: bytes) -> bytes:
    """A key of several names; the length of each is hashed too."""
    hashed = blake2b(digest_size=KEY_BYTES)
    for part in parts:
        hashed.update(len(part).to_bytes(4, "little"))
        hashed.update(part)
    return hashed.digest()


def surroundings(executor: str, device: torch.device) -> bytes:
    """Key of what all values of an executor have in common: versions, instruction sets, its kind and its device."""
    arithmetic = repr(processor.arithmetic())
    facts = (torch.__version__, arithmetic, platform.python_version(), executor, *of_device(device))
    return digest(*(fact.encode() for fact in facts))


def of_call(operation: Callable[..., Any], args: Any) -> bytes:
    """Key of a call with its plain arguments, and with tensors of any content in the shapes of `args`."""
    leaves, form = tree_flatten(args)
    names = [of_code(operation), repr(form).encode(), *(of_code(kind) for kind in _nodes(form))]
    for leaf in leaves:
        tensors = specification(leaf).leaves if isinstance(leaf, Deferred) else [to_meta(leaf)]
        described = [repr((tuple(each.shape), each.dtype)).encode() for each in tensors if isinstance(each, Tensor)]
        if isinstance(leaf, Deferred):
            described.append(repr(leaf.spec.form).encode())  # the names in it may decide what the result consists of
        names.append(digest(*described) if described else of_plain(leaf))
    return digest(*names)


def of_result(call: bytes, inputs: Iterable[Any]) -> bytes:
    """Key of the result of a call on tensors, deferred values and lazy leaves.

    Their names are concatenated: none is a prefix of another one, so that different sequences of names differ.
    """
    names = [getattr(each, "identity", None) or of_tensor(each) for each in inputs]  # a tensor does not know its name
    return blake2b(b"".join([call, *names]), digest_size=KEY_BYTES).digest()


def of_plain(value: Any) -> bytes:
    """Key of a plain argument: its content, and the code of its class and of the functions and classes within it."""
    if isinstance(value, PLAIN):
        return digest(repr(value).encode())
    if isinstance(value, Tensor):
        return of_tensor(value)
    if isinstance(value, CODE):
        return of_code(value)
    if isinstance(value, dict):
        value = list(value.items())
    if isinstance(value, tuple | list | set | frozenset):
        keys = [of_plain(each) for each in value]
        return digest(type(value).__name__.encode(), *(sorted(keys) if isinstance(value, set | frozenset) else keys))
    return digest(of_code(type(value)), of_plain(_state(value)))


def of_tensor(tensor: Tensor) -> bytes:
    """Key of a tensor, by its content."""
    known = _tensors.get(id(tensor))
    if known is None or known[0]() is not tensor:
        plain = tensor.detach().cpu().contiguous()
        key = digest(repr((tuple(plain.shape), plain.dtype)).encode(), plain.numpy().tobytes())
        name = id(tensor)
        known = _tensors[name] = (ref(tensor, lambda _: _tensors.pop(name, None)), key)
    return known[1]


_tensors: dict[int, tuple[ref[Tensor], bytes]] = {}


def of_code(thing: Any) -> bytes:
    """Key of a function, class or callable object, with all that it refers to in its own packages."""
    return _of_code(thing) if isinstance(thing, CODE) else digest(*_walk(thing, _homes(thing), {}))


@cache
def _of_code(thing: Any) -> bytes:
    return digest(*_walk(thing, _homes(thing), {}))


def forget() -> None:
    """Hash code and tensors again from now on: between two runs of a process, cells of a notebook may change them."""
    _of_code.cache_clear()
    _tensors.clear()


def _state(thing: Any) -> Any:
    """What tells an object from others of its class, as a tree of other objects.

    That is its fields or attributes, or what pickle would keep. A lock or a generator, of which pickle keeps nothing,
    is told by its class alone.
    """
    if is_dataclass(thing):
        return [getattr(thing, field.name) for field in fields(thing)]
    try:
        reduced = thing.__reduce_ex__(2)
    except Exception:  # of any kind: it is the object's own method
        return ()
    if isinstance(reduced, str):  # the name of a global
        return reduced
    made, args, *rest = reduced
    state, *items = [*rest, None, None, None][:3]
    return [made, args, state, *(None if each is None else list(each) for each in items)]


def _nodes(form: TreeSpec) -> list[type]:
    """The classes of the nodes of a tree, whose code an operation may run as well as that of its leaves."""
    kinds = {} if form.is_leaf() else {form.type: None}
    for child in form.children():
        kinds |= dict.fromkeys(_nodes(child))
    return list(kinds)


def _homes(thing: Any) -> set[str]:
    """The packages whose code is followed into: this one and that of `thing`, unless it is torch's own."""
    return {HOME, _home(thing)} - {"torch", "builtins"}


def _name(thing: Any) -> str | None:
    """Name of a function or class, of Python or of a library; None for other objects."""
    name = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None)
    return name if isinstance(name, str) else None


def _home(thing: Any) -> str:
    return str(getattr(thing, "__module__", None) or "").partition(".")[0]


def _walk(thing: Any, homes: set[str], seen: dict[int, tuple[int, Any]]) -> Iterator[bytes]:
    """Everything that decides what `thing` does, each piece once; `seen` has the number of each piece by its id."""
    thing = thing.__wrapped__ if isinstance(thing, _CACHED) else thing
    if isinstance(thing, PLAIN):
        yield repr(thing).encode()
    elif isinstance(thing, Tensor):
        yield of_tensor(thing)
    elif isinstance(thing, ModuleType):
        yield thing.__name__.encode()
    elif isinstance(thing, partial):
        yield from _walk((thing.func, thing.args, thing.keywords), homes | {_home(thing.func)}, seen)
    elif isinstance(thing, MethodType):
        yield from _walk((thing.__func__, thing.__self__), homes | {_home(thing)}, seen)
    elif isinstance(thing, dict):
        yield from _walk(list(thing.items()), homes, seen)
    elif isinstance(thing, set | frozenset):
        yield f"{len(thing)} elements".encode()
        yield from sorted(digest(*_walk(item, homes, dict(seen))) for item in thing)  # whatever their order
    elif isinstance(thing, tuple | list):
        yield f"{len(thing)} items".encode()
        for item in thing:
            yield from _walk(item, homes, seen)
    elif id(thing) in seen:
        yield f"piece {seen[id(thing)][0]}".encode()
    else:
        seen[id(thing)] = len(seen), thing  # kept, so that no other object gets its id
        yield f"{getattr(thing, '__module__', None)}.{_name(thing) or type(thing).__qualname__}".encode()
        yield from _inside(thing, homes, seen)


def _inside(thing: Any, homes: set[str], seen: dict[int, tuple[int, Any]]) -> Iterator[bytes]:
    if _name(thing) is not None and _home(thing) not in homes:
        return  # code of a library, which its name tells
    if isinstance(thing, FunctionType):
        captured = [cell.cell_contents for cell in thing.__closure__ or ()]
        for default in (*(thing.__defaults__ or ()), *(thing.__kwdefaults__ or {}).values(), *captured):
            yield from _walk(default, homes, seen)
        yield from _code(thing.__code__, thing.__doc__, thing.__globals__, homes, seen)
    elif isinstance(thing, type):
        for base in thing.__mro__[1:]:
            yield from _walk(base, homes, seen)
        for name, member in sorted(vars(thing).items()):
            if not name.startswith("__") or isinstance(member, FunctionType):
                yield name.encode()
                yield from _walk(_function(member), homes, seen)
    else:
        yield from _walk(type(thing), homes, seen)
        yield from _walk(_state(thing), homes, seen)


def _function(member: Any) -> Any:
    """The function in a property or method descriptor."""
    for attribute in ("fget", "__func__", "func"):
        inner = getattr(member, attribute, None)
        if inner is not None:
            return inner
    return member


def _code(
    code: CodeType,
    documentation: str | None,
    names: dict[str, Any],
    homes: set[str],
    seen: dict[int, tuple[int, Any]],
) -> Iterator[bytes]:
    yield code.co_code
    mentioned = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _code(constant, None, names, homes, seen)
            mentioned |= set(constant.co_names)
        elif constant is not documentation or documentation is None:
            yield repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant).encode()
    for name in sorted(mentioned):
        yield name.encode()
        referred = names.get(name)
        if isinstance(referred, ModuleType):
            if referred.__name__.partition(".")[0] in homes:
                for attribute in sorted(mentioned & set(vars(referred))):
                    yield from _walk(getattr(referred, attribute), homes, seen)
        elif referred is not None:
            yield from _walk(referred, homes, seen)
