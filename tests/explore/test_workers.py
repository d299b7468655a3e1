"""Threads that compute one answer after another."""

from threading import Event

import pytest

from attndyn.explore.workers import Worker


def test_what_can_wait_comes_after_what_cannot():
    order = []
    begin, has_begun = Event(), Event()

    def first():
        has_begun.set()
        begin.wait(10)
        return b""

    def job(name):
        return lambda: (order.append(name), b"")[1]

    worker = Worker("test")
    worker.submit(first)
    has_begun.wait(10)
    futures = [worker.submit(job("warm-up"), can_wait=True)]
    futures += [worker.submit(job(name)) for name in ("page", "later page")]
    begin.set()
    for future in futures:
        future.result(10)
    assert order == ["page", "later page", "warm-up"]


def test_what_a_job_raises_is_raised_where_it_is_awaited():
    def fails():
        raise ValueError("no answer")

    worker = Worker("test")
    with pytest.raises(ValueError, match="no answer"):
        worker.submit(fails).result(10)
    assert worker.submit(lambda: b"next").result(10) == b"next"
