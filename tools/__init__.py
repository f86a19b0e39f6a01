"""Programs that made what ships with the repository. Nothing in makd or stages imports them."""
