"""The papers' claims, the measurements they need, and how they hold up on the runs at hand."""
