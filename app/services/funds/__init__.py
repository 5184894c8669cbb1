"""Funds, the campaigns that fill them, and the budgets by which they are spent."""
