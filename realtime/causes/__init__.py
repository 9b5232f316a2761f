"""Why a server cannot be reached, for operators: pure functions of an error."""
