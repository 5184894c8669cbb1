"""The payment provider's bills against the books, to the fen."""
