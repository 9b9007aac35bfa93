"""What the papers published: their figures, and importers of their weights."""
