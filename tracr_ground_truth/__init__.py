"""Programs compiled by Tracr, whose true circuits are known and proved by intervention."""

from tracr_ground_truth.program import Program, ProgramError, find_programs, program

__all__ = ["Program", "ProgramError", "find_programs", "program"]
