"""Where the checkout is that the tests belong to."""

from pathlib import Path

import circuitmark

ROOT = Path(circuitmark.__file__).resolve().parent
