"""Keys of compiled kernels that are kept on disk."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import ModuleType


def digest_of_sources(*modules: ModuleType) -> int:
    """A number that changes with the source of any module that a kernel was made from.

    Numba itself looks only at the file of the function that it caches, and would go on using what an
    older version of another file gave. Captured by that function, the number is a part of its key.
    """
    content = b"".join(Path(str(module.__file__)).read_bytes() for module in modules)
    return int(hashlib.sha256(content).hexdigest()[:15], 16)
