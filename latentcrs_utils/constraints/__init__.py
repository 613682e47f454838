"""Hard constraints: typed values, and the readers that find them in words."""
