"""What nodes ask each other about their clients, and what they answer."""
