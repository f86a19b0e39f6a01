"""A part of the store's key, apart from the scorer so that reading it loads no model library."""

SCORING_VERSION = 4
"""Raise it when a change of the scorer changes its answers: all questions are then asked anew."""

SERVED_VERSION = 1
"""The same for answers of a server and of vLLM's engine."""
