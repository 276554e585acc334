"""The folder that keeps what is costly to make or to fetch between runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$CIRCUITMARK_CACHE``, otherwise the user's cache folder; it need not exist."""
    from platformdirs import user_cache_path

    chosen = os.environ.get("CIRCUITMARK_CACHE")
    return Path(os.path.expanduser(chosen)) if chosen else user_cache_path("circuitmark")
