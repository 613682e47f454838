"""Views of the conversation for notebooks; everything that is decided is decided elsewhere."""
