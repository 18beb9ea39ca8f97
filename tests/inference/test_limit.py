"""How large a batch may be is learned from refusals; test_memory_limit.py has those of real runs."""

from __future__ import annotations

from itertools import count

from streampose.inference.limit import BatchLimit, is_out_of_memory


def test_a_refusal_begins_the_count_of_good_runs_anew():
    def runs_until_more(limit: BatchLimit) -> int:
        size = limit.now
        return next(n for n in count(1) if limit.passed(size) or limit.now > size)

    fresh, limit = BatchLimit(8), BatchLimit(8)
    fresh.failed(8)
    patience = runs_until_more(fresh)
    limit.failed(8)
    for _ in range(patience - 1):
        limit.passed(4)
    limit.failed(4)
    assert runs_until_more(limit) == 2 * patience


def test_it_halves_what_found_no_room_and_grows_to_the_most_and_not_beyond():
    limit = BatchLimit(7)
    assert not limit.reached
    limit.failed(5)  # a batch may be smaller than the limit
    sizes = [limit.now]
    for _ in range(3 * BatchLimit._PATIENCE):
        limit.passed(limit.now)
        if limit.now != sizes[-1]:
            sizes.append(limit.now)
    assert sizes == [2, 4, 7]
    assert not limit.reached
    assert limit.refusals == 1


def test_what_python_says_of_memory_counts_too():
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("something else"))
