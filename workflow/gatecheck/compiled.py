"""What compiled kernels share: keys of those kept on disk, parts that count no references, work in threads."""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numba
from numba.core import entrypoints

# Before its first call, numba imports every installed package that extends it, used or not: awkward, which comes with
# opengate, is 0.7 s of every step. No kernel here is given anything but numbers and arrays.
entrypoints._already_initialized = True

# Numba's own way to do without its runtime (numba.extending.register_jitable shows it); its stubs do not know of it.
_UNCOUNTED: dict[str, Any] = {"error_model": "numpy", "_nrt": False}

FunctionT = TypeVar("FunctionT", bound=Callable[..., object])
# What items hold is held so many times: some 300 MB for a large structure's noise.
_MOST_THREADS = 4

ItemT = TypeVar("ItemT")
FoundT = TypeVar("FoundT")


def digest_of_sources(*modules: ModuleType) -> int:
    """A number that changes with the source of any module that a kernel was made from.

    Numba itself looks only at the file of the function that it caches, and would go on using what an
    older version of another file gave. Captured by that function, the number is a part of its key.
    """
    content = b"".join(Path(str(module.__file__)).read_bytes() for module in modules)
    return int(hashlib.sha256(content).hexdigest()[:15], 16)


def digest_of_functions(*functions: Callable[..., object]) -> str:
    """SHA-256 of the source of functions, compiled ones among them: of what is taken from a module that does more."""
    content = "".join(inspect.getsource(getattr(function, "py_func", function)) for function in functions)
    return hashlib.sha256(content.encode("utf-8")).hexdigest()


def part_of_kernel(function: FunctionT) -> FunctionT:
    """Compile a function that other compiled code calls, and that makes no array.

    Numba counts references to every array of every tuple that a function is given, atomically; where photons are
    followed that took more than half of the time. A caller holds the arrays as long as such a function runs.
    """
    compiled: FunctionT = numba.njit(**_UNCOUNTED)(function)
    return compiled


def inlined_part_of_kernel(function: FunctionT) -> FunctionT:
    """As `part_of_kernel`, written out in full in every place that calls it, when numba compiles that.

    A tuple of arrays is handed over as some hundred numbers, in memory: where a call does little itself, that is most
    of its time. Not for functions that code counting references calls: written out there, their arrays are counted.
    """
    compiled: FunctionT = numba.njit(inline="always", **_UNCOUNTED)(function)
    return compiled


def processors() -> int:
    """Those that this process may use, which on a shared machine are not all of them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def blocks_of(count: int, longest: int) -> list[slice]:
    """Consecutive parts of so many things, none longer than given."""
    return [slice(start, min(start + longest, count)) for start in range(0, count, longest)]


def run_blocks(of_block: Callable[[slice], None], blocks: Sequence[slice]) -> None:
    """Call a kernel that lets other threads run for each block, a few at a time.

    Raises
    ------
    Exception
        What the first block to fail raised.
    """
    if not blocks:
        return
    of_block(blocks[0])  # compiles where need be, once and not in each thread
    if len(blocks) == 1:
        return
    in_threads(of_block, blocks[1:])


def in_threads(
    function: Callable[[ItemT], FoundT], items: Iterable[ItemT], *, most: int = _MOST_THREADS
) -> list[FoundT]:
    """What a function that mostly lets other threads run gives for each item, in their order; a few at a time.

    Parameters
    ----------
    most : int
        At a time.

    Raises
    ------
    Exception
        What the first item to fail raised.
    """
    with ThreadPoolExecutor(min(processors(), most)) as threads:
        return list(threads.map(function, items))
