"""Models, claims and statements of the user's own."""
