"""The project's own tools stand beside the packages, and are in no wheel."""

from __future__ import annotations

import sys
from pathlib import Path

PROJECT = str(Path(__file__).parents[2])
if PROJECT not in sys.path:
    sys.path.append(PROJECT)
