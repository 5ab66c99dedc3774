"""Blocking functions that measure one thing each and return it as a fact; they never judge what is acceptable."""
