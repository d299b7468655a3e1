"""The claims of Zhang et al. 2025, by the part of the paper that they are about."""
