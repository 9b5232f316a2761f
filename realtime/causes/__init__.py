"""Tell operators why a server cannot be reached: pure functions of an error."""
