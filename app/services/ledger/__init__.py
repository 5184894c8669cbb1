"""The books: accounts, transfers between them, closed months, and what an accountant reads."""
