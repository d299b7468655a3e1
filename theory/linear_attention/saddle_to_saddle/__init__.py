"""The saddle-to-saddle dynamics of separate key and query."""
