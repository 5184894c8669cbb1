"""The domains: functions that decide and write. They never commit; the caller's transaction does."""
