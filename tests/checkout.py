"""Where the checkout is that the tests belong to."""

from circuitmark.rooms import HOME

ROOT = HOME
