"""Programs that are variants of each other, so that settings chosen on one are not new to the others.

The same computation on other lengths, another vocabulary or another mask, or the same parts put to another
use. Two halves of the programs are independent only if all variants of a program are in the same half.
"""

from __future__ import annotations

import hashlib

FAMILIES = (
    ("reverse", "reverse_any_length"),
    ("hist", "hist_so_far", "seen_before"),
    ("x_proportion", "proportion_of_either", "proportion_of_repeated"),
    ("shuffle_dyck", "shuffle_dyck2", "pair_balance", "bracket_depth", "balanced_so_far"),
    ("sort", "x_to_front", "sort_freq"),
    ("detect_ab", "detect_aba"),
    ("count", "parity"),
    ("weighted_sum", "heavier_half"),
    ("follow_pointer", "relative_jump", "eight_jumps", "eleven_jumps"),
    ("pointers_here", "two_jumps_here"),
    ("token_at_count", "rotate_by_count"),
    ("majority", "x_majority_twice"),
    ("first_x", "after_first_x"),
    ("share_followed_by_a", "induction"),
    ("same_as_first", "ends_agree"),
)
"""Families of the shipped programs; any other program is a family of its own."""
_FAMILY = {name: members[0] for members in FAMILIES for name in members}


def fold_of(program: str) -> int:
    """The fold of a program, 0 or 1: a hash of its family's name decides, whatever else is run."""
    return hashlib.sha256(_FAMILY.get(program, program).encode()).digest()[0] & 1
