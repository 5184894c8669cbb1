"""What everybody may know of the fund: what came, what went, and nobody who does not want to be known."""
