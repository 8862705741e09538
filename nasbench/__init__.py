"""Published networks to stand beside a search result, and the comparison with them."""
