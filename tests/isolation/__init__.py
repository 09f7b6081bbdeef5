"""Tests of boxes, against real bubblewrap and the real kernel."""
