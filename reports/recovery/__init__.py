"""Recoveries of true circuits: folded, as tables, as a section of the page, in the terminal."""
