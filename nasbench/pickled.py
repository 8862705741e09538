"""Reading plain data out of pickles that users hand over, without unpickling them.

A pickle is a program: unpickling imports and calls whatever it names. Here its operations are only
read. Containers, numbers and strings become Python's; what a program would import or call becomes
a `Call`, which holds names and arguments and is never carried out.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

_MARK = object()
PERSISTENT = "a persistent id"
"""Name of the `Call` that stands for something outside of the pickle, its id the argument."""

_NUMPY_SCALARS = {"f8": "d", "f4": "f", "i8": "q", "i4": "i"}


@dataclass(eq=False)
class Call:
    """What a pickle would have imported (no arguments) or called.

    Attributes:
        name: the dotted name.
        arguments: of the call; None for a mere name.
        state: what would have been set on the result.
    """

    name: str
    arguments: tuple[Any, ...] | None = None
    state: Any = None


@dataclass
class _Machine:
    """The stack and the memory of one pickle."""

    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def pop(self, count: int = 1) -> list[Any]:
        if len(self.stack) < count:
            raise ValueError("its stack runs empty")
        taken = self.stack[-count:]
        del self.stack[-count:]
        return taken

    def pop_mark(self) -> list[Any]:
        position = len(self.stack) - 1
        while position >= 0 and self.stack[position] is not _MARK:
            position -= 1
        if position < 0:
            raise ValueError("a mark is missing")
        taken = self.stack[position + 1 :]
        del self.stack[position:]
        return taken


def read_pickle(file: IO[bytes]) -> Any:
    """Return the data of a pickle, nothing of which is run.

    Returns:
        None, numbers, strings, bytes, and tuples, lists, sets and dictionaries of them; a `Call`
        wherever the pickle asks for anything else. OrderedDicts and numpy's scalars, which tables
        are full of, become dictionaries and numbers.

    Raises:
        ValueError: if the file is no pickle, or is damaged.
    """
    machine = _Machine()
    try:
        for operation, argument, _ in pickletools.genops(file):
            if operation.name == "STOP":
                return machine.pop()[0]
            step = _STEPS.get(operation.name)
            if step is None:
                raise ValueError(f"it uses {operation.name}, which plain data do not need")
            step(machine, argument)
    except (TypeError, KeyError, IndexError, struct.error) as error:
        raise ValueError(f"it is damaged: {error}") from None
    raise ValueError("it ends too early")


def _constant(value: Any) -> Callable[[_Machine, Any], None]:
    return lambda machine, argument: machine.stack.append(value)


def _new(kind: type) -> Callable[[_Machine, Any], None]:
    return lambda machine, argument: machine.stack.append(kind())


def _push(machine: _Machine, argument: Any) -> None:
    machine.stack.append(argument)


def _nothing(machine: _Machine, argument: Any) -> None:
    """Do nothing: the operation is about how the file is laid out."""


def _collect(kind: Callable[[list[Any]], Any]) -> Callable[[_Machine, Any], None]:
    return lambda machine, argument: machine.stack.append(kind(machine.pop_mark()))


def _pairs(values: Sequence[Any]) -> dict[Any, Any]:
    return dict(zip(values[::2], values[1::2], strict=True))


def _tuple_of(count: int) -> Callable[[_Machine, Any], None]:
    return lambda machine, argument: machine.stack.append(tuple(machine.pop(count)))


def _extend(machine: _Machine, values: list[Any]) -> None:
    target = machine.stack[-1]
    if isinstance(target, list):
        target.extend(values)
    elif isinstance(target, set):
        target.update(values)
    elif isinstance(target, dict):
        target.update(_pairs(values))
    elif not isinstance(target, Call):  # of a class of its own, whose content nobody needs
        raise ValueError(f"it adds to a {type(target).__name__}")


def _remember(machine: _Machine, argument: Any) -> None:
    machine.memo[len(machine.memo) if argument is None else argument] = machine.stack[-1]


def _recall(machine: _Machine, argument: Any) -> None:
    machine.stack.append(machine.memo[argument])


def _name(machine: _Machine, argument: Any) -> None:
    parts = machine.pop(2) if argument is None else str(argument).split(" ", 1)
    machine.stack.append(Call(".".join(map(str, parts))))


def _call(machine: _Machine, argument: Any) -> None:
    called, arguments = machine.pop(2)
    if not isinstance(called, Call) or not isinstance(arguments, tuple):
        raise ValueError("it calls what has no name")
    machine.stack.append(_understood(called.name, arguments))


def _understood(name: str, arguments: tuple[Any, ...]) -> Any:
    """Return what the call stands for, where its meaning is plain; else the call."""
    if name == "collections.OrderedDict" and len(arguments) <= 1:
        return dict(arguments[0]) if arguments else {}
    if name.endswith("multiarray.scalar") and len(arguments) == 2:
        kind, raw = arguments
        code = kind.arguments[0] if isinstance(kind, Call) and kind.arguments else None
        if code in _NUMPY_SCALARS and isinstance(raw, bytes):
            is_big = isinstance(kind.state, tuple) and kind.state[1:2] == (">",)
            return struct.unpack((">" if is_big else "<") + _NUMPY_SCALARS[code], raw)[0]
    return Call(name, arguments)


def _set_state(machine: _Machine, argument: Any) -> None:
    (state,) = machine.pop()
    if isinstance(machine.stack[-1], Call):
        machine.stack[-1].state = state


_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME"), _nothing),
    **dict.fromkeys(("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"), _push),
    **dict.fromkeys(("FLOAT", "BINFLOAT", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"), _push),
    **dict.fromkeys(("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"), _push),
    **dict.fromkeys(("STRING", "BINSTRING", "SHORT_BINSTRING"), _push),
    **dict.fromkeys(("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"), _remember),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _recall),
    "BINPERSID": lambda machine, argument: machine.stack.append(
        Call(PERSISTENT, tuple(machine.pop()))
    ),
    "NONE": _constant(None),
    "NEWTRUE": _constant(True),
    "NEWFALSE": _constant(False),
    "MARK": _constant(_MARK),
    "EMPTY_TUPLE": _new(tuple),
    "EMPTY_LIST": _new(list),
    "EMPTY_DICT": _new(dict),
    "EMPTY_SET": _new(set),
    "TUPLE": _collect(tuple),
    "LIST": _collect(list),
    "DICT": _collect(_pairs),
    "FROZENSET": _collect(frozenset),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "APPEND": lambda machine, argument: _extend(machine, machine.pop()),
    "APPENDS": lambda machine, argument: _extend(machine, machine.pop_mark()),
    "ADDITEMS": lambda machine, argument: _extend(machine, machine.pop_mark()),
    "SETITEM": lambda machine, argument: _extend(machine, machine.pop(2)),
    "SETITEMS": lambda machine, argument: _extend(machine, machine.pop_mark()),
    "GLOBAL": _name,
    "STACK_GLOBAL": _name,
    "REDUCE": _call,
    "NEWOBJ": _call,
    "BUILD": _set_state,
}
