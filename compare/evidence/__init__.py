"""The framework of claims: what a claim is, how it is judged, and what a check finds. It knows no paper."""
