"""Cases put to a testee: results, diagnosis, expected failures, the kill matrix."""
