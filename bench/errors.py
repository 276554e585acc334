"""Errors that are not our fault: each ends a command with one line and an exit code, no traceback.

A message names the thing, the cause and the fix.
"""

from __future__ import annotations


class UserError(Exception):
    """Something a user can fix."""

    exit_code = 1


class UsageError(UserError):
    """The command line, or a file that it names, is wrong."""

    exit_code = 2


class ModelError(UsageError):
    """A model that is not available, is damaged, or is not supported."""


class ProgramFailed(UsageError):
    """A Tracr program that cannot be compiled, or whose compiled model does not compute it."""


class MixedSettings(UsageError):
    """A results folder holds runs that cannot be mixed with the requested ones."""


class OlderResults(UsageError):
    """A results folder of an older version, whose results this one does not read."""


class NewerResults(UsageError):
    """A results folder of a newer version."""


class DamagedFile(UserError):
    """A file that does not hold what it should."""


class UnwritableFolder(UserError):
    """A folder that cannot be written: read-only, full, or not a folder."""


class BusyFolder(UserError):
    """Another process keeps a results folder locked."""


class LostScheduler(UserError):
    """A scheduler that stopped answering."""


class IncompleteResults(UserError):
    """Jobs that were run are missing from the results folder."""


class Interrupted(UserError):
    """The user stopped the run."""

    exit_code = 130
