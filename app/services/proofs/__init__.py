"""The public log of the ledger: every transfer sealed in order, signed, and provable to whoever holds a leaf of it."""
