"""The population loss in symbols, from the definition of model and task."""
