"""The exercises of the notebooks: one module a chapter, one function an exercise.

Each function takes the reader's answer and prints one verdict: right, not yet (with the input that
shows it), or not answered yet."""
