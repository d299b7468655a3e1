"""Claims of the level "certified": enclosures against what the numerical theory states."""
