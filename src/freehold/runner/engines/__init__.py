"""What computes tokens and vectors: one seam, and one file for each kind of engine behind it."""
