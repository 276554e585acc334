"""Programs compiled by Tracr, whose true circuit is known and proved by intervention."""

from tracr_ground_truth.program import Program, ProgramError, find_programs, program

__all__ = ["Program", "ProgramError", "find_programs", "program"]
