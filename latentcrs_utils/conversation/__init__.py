"""A conversation with a fitted model: state, guards, transcript. Plain Python, no widgets."""
