"""What may go wrong without being our fault: each becomes one line and an exit code, no traceback.

A message names the thing, the cause and the remedy.
"""

from __future__ import annotations


class UserError(Exception):
    """Something a user can fix."""

    exit_code = 1


class UsageError(UserError):
    """What was typed, or a file that it names, is wrong."""

    exit_code = 2


class ModelError(UsageError):
    """A model that is not available, is damaged, or is not supported."""


class ProgramFailed(UsageError):
    """A Tracr program that cannot be compiled, or is not computed by what was compiled."""


class MixedSettings(UsageError):
    """A results folder holds runs that must not stand beside those wanted."""


class OlderResults(UsageError):
    """A results folder of a version whose results this one does not read."""


class NewerResults(UsageError):
    """A results folder of a version that is newer than this one."""


class DamagedFile(UserError):
    """A file that cannot be read as what it should be."""


class UnwritableFolder(UserError):
    """A folder that takes no file: read-only, full, not a folder."""


class BusyFolder(UserError):
    """Another run is at work in the same results folder."""


class LostScheduler(UserError):
    """A scheduler that answered no longer does."""


class IncompleteResults(UserError):
    """Jobs are missing that were run."""


class Interrupted(UserError):
    """The user stopped the run."""

    exit_code = 130
