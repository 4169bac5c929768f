"""The module length_profile of `evaluate`; the class is in the file of the same name."""
