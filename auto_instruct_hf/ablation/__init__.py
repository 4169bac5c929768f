"""Compare recipes: the same instructions completed in several ways."""
