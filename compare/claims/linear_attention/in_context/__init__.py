"""Claims on what is learned in context, and in the weights."""
