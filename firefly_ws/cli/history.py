"""Where the prompt's history is kept; knows no prompt."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["history_file", "state_directory"]


def state_directory() -> Path:
    """The user's directory for what programs remember: ``$XDG_STATE_HOME``, or what stands in for it."""
    given = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_STATE_HOME", "")
    # The specification of the directories has a relative one ignored.
    base = Path(given) if os.path.isabs(given) else Path.home() / ".local" / "state"
    return base / "firefly-ws"


def history_file() -> Path | None:
    """The file, which nobody else may read; ``None`` where there can be none."""
    try:
        directory = state_directory()
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = directory / "history"
        # What is typed to a server may be a secret.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except (OSError, RuntimeError):  # no home, or one that cannot be written to
        return None
    return path
