"""Parse and check settings; the parsers are pure functions of the settings' text."""
