"""How large a batch may be is learned from refusals; test_memory_limit.py has those of real runs."""

from __future__ import annotations

from itertools import count

from streampose.inference.limit import BatchLimit


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
