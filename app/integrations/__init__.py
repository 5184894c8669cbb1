"""Thin clients of the servers we call: no database, no rules."""
