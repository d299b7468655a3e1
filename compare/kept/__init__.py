"""Thinned losses of runs that are made once, written by `attndyn.compare.full_size.keep`."""
