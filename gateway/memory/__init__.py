"""What a node may hold for its clients, and who goes when it is more."""
