"""The module overlap of `evaluate`; the class is in the file of the same name."""
