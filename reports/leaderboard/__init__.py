"""The long table of runs: folded over seeds, as tables, rankings and curves."""
