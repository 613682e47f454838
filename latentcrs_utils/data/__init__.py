"""From raw ratings to sequences: sources, preprocessing, splits."""
