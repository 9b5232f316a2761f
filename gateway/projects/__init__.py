"""What a project allows on this node, and what a reload changes."""
