"""Hospital results: what may be posted, the versions of a report, the risk found, and who may read it."""
