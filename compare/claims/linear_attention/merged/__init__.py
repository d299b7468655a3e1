"""Claims on the merged model."""
