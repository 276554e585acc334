"""What all packages of reports are made of: grids, numbers, metrics, looks, SVG and Markdown."""
