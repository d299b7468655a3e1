"""How fast the package is, beside what else its users could reach for: `python -m benchmarks`."""
