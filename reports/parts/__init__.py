"""Building blocks of all reports: grids, numbers, metrics, line styles, SVG and Markdown."""
