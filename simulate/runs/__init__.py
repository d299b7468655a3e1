"""Runs as data: experiments and the store of finished ones."""
