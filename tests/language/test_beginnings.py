"""What successive prompts share: how much is kept, and that a copy is given away."""

from __future__ import annotations

from latentcrs_utils.language.local_chat_model import SharedBeginning


def read(shared: SharedBeginning, prompt: list[int]) -> tuple[int, list[int] | None]:
    """Read a prompt as a chat model does; the cache is a list of the tokens."""
    n_known, cache = shared.known(prompt)
    given = None if cache is None else list(cache)
    n = shared.to_keep(prompt)
    if n > n_known:
        shared.keep(prompt, n, prompt[:n])
    if cache is not None:
        cache.append(-1)  # a model writes into what it is given
    return n_known, given


def test_the_third_prompt_gains_by_what_the_first_two_shared() -> None:
    shared, instructions = SharedBeginning(4), list(range(10))
    assert read(shared, [*instructions, 50, 51]) == (0, None)
    assert read(shared, [*instructions, 60, 61, 62]) == (0, None)
    for more in ([70, 71], [80], [90, 91, 92, 93, 94]):
        # ten tokens are two whole pieces
        assert read(shared, [*instructions, *more]) == (8, list(range(8)))


def test_a_longer_beginning_takes_the_place_of_a_shorter_one() -> None:
    shared, instructions = SharedBeginning(4), list(range(6))
    for more in ([50], [60]):
        read(shared, [*instructions, *more])
    long = [*instructions, 7, 8, 9, 10, 11, 12, 13]
    assert read(shared, [*long, 1]) == (4, [0, 1, 2, 3])
    assert read(shared, [*long, 2]) == (4, [0, 1, 2, 3])
    assert read(shared, [*long, 3]) == (12, long[:12])


def test_another_prompt_gains_nothing_and_short_ones_change_nothing() -> None:
    shared, instructions = SharedBeginning(4), list(range(9))
    for more in (50, 60):
        read(shared, [*instructions, more])
    assert read(shared, [1, 2, 3]) == read(shared, [0, 1, 2, 3]) == (0, None)
    assert read(shared, [*instructions, 70])[0] == 8
    assert read(shared, [9, *instructions]) == (0, None)


def test_a_shorter_beginning_takes_the_place_of_a_longer_one_that_is_no_longer_shared() -> None:
    shared = SharedBeginning(4)
    for more in (50, 60):
        read(shared, [*range(9), more])
    other = [0, 1, 2, 3, 44, 45, 46, 47]
    # what was kept is of no use to the first, which shares four tokens with the one before it
    assert [read(shared, [*other, more])[0] for more in (50, 60, 70)] == [0, 4, 8]


def test_one_token_is_always_left_to_be_read() -> None:
    shared = SharedBeginning(4)
    for _ in range(3):
        known, _ = read(shared, list(range(8)))
    assert known == 4
