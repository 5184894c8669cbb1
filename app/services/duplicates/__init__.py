"""People registered twice: suspected, dismissed or merged; merges of people and households, and their undoing."""
