"""Posting to the ledger: ours, the textbook's way, django-hordak, and the limits."""
