"""Statements about a derivation, and how each is checked."""
