"""`make bench`: ratios of two things measured side by side in one run, for single times on a shared machine mislead."""
