from __future__ import annotations

import asyncio
import sys
import threading
import time
import weakref

import cv2
import pytest

from streampose.cores import share_cores
from streampose.errors import WorkerClosed, WorkerStuck
from streampose.worker import Worker


class Thing:
    def __init__(self) -> None:
        self.threads: list[int] = []
        self.events: list[str] = []

    def work(self, seconds: float = 0.0) -> str:
        self.threads.append(threading.get_ident())
        time.sleep(seconds)
        self.events.append("worked")
        return "done"

    def fail(self) -> None:
        raise KeyError("no")

    def close(self) -> None:
        self.threads.append(threading.get_ident())
        self.events.append("closed")


async def test_every_call_and_the_close_run_on_one_other_thread():
    thing = Thing()
    worker = Worker(thing, "t")
    assert await worker.call(thing.work) == "done"
    assert await worker.call(thing.work, 0.0) == "done"
    await worker.aclose()
    await worker.aclose()
    assert len(set(thing.threads)) == 1
    assert threading.get_ident() not in thing.threads
    assert thing.events == ["worked", "worked", "closed"]


async def test_an_error_reaches_the_caller_and_the_worker_lives_on():
    thing = Thing()
    worker = Worker(thing, "t")
    with pytest.raises(KeyError):
        await worker.call(thing.fail)
    assert await worker.call(thing.work) == "done"
    await worker.aclose()


async def test_close_comes_after_a_cancelled_call_has_returned():
    thing, told = Thing(), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    worker = Worker(thing, "t")
    call = asyncio.create_task(worker.call(thing.work, 0.1))
    await asyncio.sleep(0.02)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await worker.aclose()
    assert thing.events == ["worked", "closed"]
    assert not told, "what it returned is thrown away without a word"


def test_a_call_whose_loop_is_gone_keeps_nothing_from_being_closed():
    thing, goes_on = Thing(), threading.Event()
    worker = Worker(thing, "t")

    async def begin() -> None:
        worker.start(goes_on.wait)

    asyncio.run(begin())
    goes_on.set()
    asyncio.run(worker.aclose(timeout_s=2))
    assert thing.events == ["closed"]


async def test_a_worker_that_waits_keeps_nothing_of_its_last_call():
    """A frame is megabytes."""
    worker = Worker(Thing(), "t")
    result = weakref.ref(await worker.call(Thing))
    async with asyncio.timeout(2):
        while result() is not None:
            await asyncio.sleep(0.001)
    await worker.aclose()


async def test_a_call_after_the_end_is_an_error():
    worker = Worker(Thing(), "t")
    await worker.aclose()
    with pytest.raises(WorkerClosed):
        await worker.call(print)


async def test_a_stuck_call_is_left_behind():
    release = threading.Event()
    worker = Worker(Thing(), "t")
    call = asyncio.create_task(worker.call(release.wait))
    await asyncio.sleep(0.01)
    with pytest.raises(WorkerStuck, match="stuck"):
        await worker.aclose(timeout_s=0.05)
    (thread,) = (one for one in threading.enumerate() if one.name == "streampose-t")
    assert thread.daemon, "the process would not end"
    release.set()
    await call


async def test_an_error_of_close_is_raised():
    class Bad(Thing):
        def close(self) -> None:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        await Worker(Bad(), "t").aclose()


async def test_what_cannot_be_interrupted_is_closed_all_the_same():
    class Bad(Thing):
        def interrupt(self) -> None:
            raise ValueError("no such socket")

    thing = Bad()
    worker = Worker(thing, "t")
    with pytest.raises(ValueError, match="no such socket"):
        await worker.aclose()
    assert thing.events == ["closed"]
    assert "streampose-t" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("error", [None, OSError("disk full"), TimeoutError("silent")])
async def test_what_closed_while_the_loop_was_held_up_is_not_stuck(error: Exception | None):
    closing = threading.Event()

    class Slow(Thing):
        def close(self) -> None:
            closing.wait(10)
            super().close()
            if error is not None:
                raise error

    ended = asyncio.create_task(Worker(thing := Slow(), "held-up").aclose(timeout_s=0.02))
    await asyncio.sleep(0)
    closing.set()
    (thread,) = (one for one in threading.enumerate() if one.name == "streampose-held-up")
    thread.join(10)
    time.sleep(0.03)  # the loop is held up, until the time is over
    (outcome,) = await asyncio.gather(ended, return_exceptions=True)
    assert outcome is error
    assert thing.events == ["closed"]


def test_a_program_that_is_all_pipeline_shares_its_cores():
    lock_s, threads = sys.getswitchinterval(), cv2.getNumThreads()
    try:
        share_cores()
        assert sys.getswitchinterval() == pytest.approx(0.001)
        assert cv2.getNumThreads() == 1
    finally:
        sys.setswitchinterval(lock_s)
        cv2.setNumThreads(threads)
