"""Charts as SVG within a page: Altair specifications, rendered here, coloured by the page's own style."""
