"""`gatecheck`: one verb per room, and `verify`, which walks through all of them."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path

from gatecheck.cli import start, steps, tools
from gatecheck.cli.app import app
from gatecheck.errors import ERROR_FILE_VARIABLE, GatecheckError, RemovedResultError

__all__ = ["app", "main", "start", "steps", "tools"]


def main() -> None:
    """Run the command line; refusals are one line on stderr and exit code 2."""
    try:
        app()
    except GatecheckError as error:
        _record(error)
        sys.stderr.write(f"gatecheck: {error}\n")
        sys.exit(error.exit_code)


def _record(error: GatecheckError) -> None:
    """Leave the message where `verify` looks for it, since a rule's stderr goes to its log."""
    target = os.environ.get(ERROR_FILE_VARIABLE)
    if target:
        # On a full disk the message stays on stderr alone, and so in the step's log if that has room.
        with contextlib.suppress(OSError):
            content = {"message": str(error), "is_removed": isinstance(error, RemovedResultError)}
            Path(target).write_text(json.dumps(content), encoding="utf-8")


if __name__ == "__main__":
    main()
