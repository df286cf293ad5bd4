"""`minicdn bench`: a small load test."""
