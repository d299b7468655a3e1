"""Claims on fixed points: which there are, in which order, and the weights that realise them."""
