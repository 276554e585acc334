"""What every room of reports is made of: grids, numbers, metrics, looks, SVG and Markdown."""
