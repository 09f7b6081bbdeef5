"""Freehold: an AI workspace that its owner holds outright.

The rooms, in import order (left may import right):
cli → supervisor → console | gateway | edge | runner → isolation | models → identity → storage → settings → protocol.
"""

__version__ = "0.1.0"
