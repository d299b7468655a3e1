"""One module per section of a paper: its statements as claims."""
