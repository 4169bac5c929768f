"""The module diversity of `evaluate`; the class is in the file of the same name."""
