"""The module verb_nouns of `evaluate`; the class is in the file of the same name."""
