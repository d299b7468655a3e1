"""What commands print: tables, JSON and LaTeX, on streams that may end or know few characters."""
