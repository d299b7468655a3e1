"""Claims on the separate model."""
