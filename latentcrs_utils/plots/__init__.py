"""Figures of the course: one look, colour plus marker, and the facts once more as text.

Each function shows a figure with an alternative text and returns its *twin*, a line or a few with
the same facts. The notebooks print the twin: it is what a check can compare, what a screen reader
reads, and what is left where images are off. The title of a figure says what there is to see; the
notebook gives it."""
