"""Booking: ours, the textbook's way, pretix, and the limits."""
