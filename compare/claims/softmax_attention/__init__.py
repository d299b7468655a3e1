"""Claims of the papers on softmax attention with several heads."""
