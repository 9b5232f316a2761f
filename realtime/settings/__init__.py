"""What settings may say: pure functions of their text."""
