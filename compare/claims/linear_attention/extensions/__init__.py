"""Claims beyond one context length, one seed and linear attention."""
