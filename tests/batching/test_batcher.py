from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from fakes import VirtualClock, frame, poses_of

from streampose.batching import Batcher, Decision, FixedBatch, Lane, LatencyBatch, Load, Take, Wait, Waiting
from streampose.errors import EngineFailed, PolicyError
from streampose.frame import Image
from streampose.metrics import Cause, Place
from streampose.pose import Poses


class Engine:
    """Holds each batch until it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self._gates: list[asyncio.Event] = []

    async def __call__(self, images: Sequence[Image]) -> list[Poses]:
        self.batches.append([int(image[0, 0, 0]) for image in images])
        gate = asyncio.Event()
        self._gates.append(gate)
        await gate.wait()
        return [poses_of(int(image[0, 0, 0])) for image in images]

    def let_go(self, batch: int = -1) -> None:
        self._gates[batch].set()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def lane(
    name: str,
    *,
    live: bool = True,
    credits: int = 2,  # noqa: A002
    capacity: int = 2,
    weight: float = 1.0,
) -> Lane:
    return Lane(name, live=live, credits=credits, capacity=capacity, weight=weight)


async def deliver(one: Lane, results: int) -> None:
    for _ in range(results):
        await one.outbox.get()
        one.return_credit()


class Running:
    def __init__(self, engines: list[Engine], policy, lanes: list[Lane], **options) -> None:
        self.clock = VirtualClock()
        self.batcher = Batcher(engines, policy, self.clock, **options)
        for one in lanes:
            self.batcher.add(one)
        self.lanes = lanes

    async def __aenter__(self) -> Running:
        self.task = asyncio.create_task(self.batcher.run())
        await settle()
        return self

    async def __aexit__(self, *_: object) -> None:
        for one in self.lanes:
            one.ingress.close()
        self.batcher.close()
        await settle()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def test_results_leave_in_capture_order_whichever_engine_is_faster():
    slow, fast = Engine(), Engine()
    one = lane("a", live=False, credits=4, capacity=4)
    async with Running([slow, fast], FixedBatch(1), [one]):
        for i in range(2):
            one.ingress.put_nowait(frame(i))
        await settle()
        assert (slow.batches, fast.batches) == ([[0]], [[1]])
        fast.let_go()
        await settle()
        first, future = await one.outbox.get()
        assert first.index == 0
        assert not future.done()
        slow.let_go()
        assert (await future).poses.points[0, 0, 0] == 0


async def test_no_frame_is_taken_from_a_stream_without_credit():
    engine, one = Engine(), lane("a", credits=1)
    async with Running([engine], LatencyBatch(10.0), [one]):
        one.ingress.put_nowait(frame(0))
        await settle()
        engine.let_go()
        one.ingress.put_nowait(frame(1))
        await settle()
        assert engine.batches == [[0]]
        await one.outbox.get()
        one.return_credit()
        await settle()
        assert engine.batches == [[0], [1]]
        engine.let_go()


async def test_streams_take_turns_and_nobody_starves():
    engine, served = Engine(), Counter()
    lanes = [lane(name) for name in "abcde"]
    async with Running([engine], LatencyBatch(1e6, max_frames=2), lanes):
        for turn in range(50):
            # "a" is greedy: it always has two fresh frames waiting, the others have one.
            for one in lanes:
                for _ in range(2 if one.name == "a" else 1):
                    one.ingress.put_nowait(frame(turn, stream=one.name))
            await settle()
            engine.let_go()
            await settle()
            for one in lanes:
                while len(one.outbox):
                    await one.outbox.get()
                    one.return_credit()
                    served[one.name] += 1
            await settle()
        engine.let_go()
    assert max(served.values()) - min(served.values()) <= 3, served


def costly_batches(max_frames: int, budget_s: float) -> LatencyBatch:
    """It knows that a batch costs 20 ms, and a frame 1 ms more."""
    policy = LatencyBatch(budget_s, max_frames=max_frames)
    for i in range(100):
        policy.observe(Load(frames=i % 8 + 1, people=i % 3), 0.02 + 0.001 * (i % 8 + 1))
    return policy


async def test_recordings_fill_only_the_room_that_live_streams_leave():
    engine = Engine()
    film, camera = lane("film", live=False, credits=8, capacity=8), lane("camera")
    async with Running([engine], costly_batches(3, 1e6), [film, camera]):
        film.ingress.put_nowait(frame(9))
        await settle()  # the engine is busy with the film, and both wait
        for i in range(3):
            film.ingress.put_nowait(frame(10 + i))
        for i in range(2):
            camera.ingress.put_nowait(frame(i))
        engine.let_go()
        await settle()
        assert engine.batches == [[9], [0, 1, 10]]
        engine.let_go()


async def test_a_recording_does_not_hold_the_engine_while_a_camera_is_there():
    engine = Engine()
    film, camera = lane("film", live=False, credits=8, capacity=8), lane("camera")
    async with Running([engine], costly_batches(8, 0.1), [film, camera]):
        camera.ingress.put_nowait(frame(0))
        await settle()
        for i in range(8):
            film.ingress.put_nowait(frame(10 + i))
        engine.let_go()
        await settle()
        # A quarter of the budget, 25 ms, has room for four or five.
        assert len(engine.batches[1]) in {3, 4, 5}
        engine.let_go()


async def test_who_was_silent_for_long_does_not_have_all_turns_then():
    engine, busy, silent = Engine(), lane("busy", credits=40), lane("silent", credits=8, capacity=8)
    async with Running([engine], FixedBatch(1), [busy, silent]):
        for i in range(20):
            busy.ingress.put_nowait(frame(i))
            await settle()
            engine.let_go()
            await settle()
        for i in range(8):
            silent.ingress.put_nowait(frame(100 + i))
        for i in range(20, 26):
            busy.ingress.put_nowait(frame(i))
            await settle()
            engine.let_go()
            await settle()
    assert 2 <= sum(i >= 100 for (i,) in engine.batches[20:26]) <= 4, engine.batches[20:]


class OneOfAll(FixedBatch):
    """Takes the first frame; the others are too late."""

    def decide(self, now: float, waiting: Sequence[Waiting], more: bool) -> Decision:
        return Take(frames=tuple(waiting[:1]), drop=tuple(waiting[1:])) if waiting else Wait()


async def test_whose_frame_went_lost_comes_first_among_those_of_equal_claim():
    """Two slow cameras in step beside a quick one: both have all the claim that there is, and one can be in time."""
    engine, quick, one, other = Engine(), lane("quick", credits=99), lane("one"), lane("other")
    async with Running([engine], OneOfAll(1), [quick, one, other]):
        for turn in range(4):
            for i in range(3):
                quick.ingress.put_nowait(frame(10 * turn + i))
                await settle()
                engine.let_go()
            await settle()
            one.ingress.put_nowait(frame(100 + turn))
            other.ingress.put_nowait(frame(200 + turn))
            await settle()
            engine.let_go()
            await deliver(one, len(one.outbox))
            await deliver(other, len(other.outbox))
            await settle()
    assert [i for (i,) in engine.batches if i >= 100] == [100, 201, 102, 203]


async def test_streams_are_served_by_their_weights():
    engine = Engine()
    heavy, light = lane("heavy", weight=3.0), lane("light")
    served = {"heavy": 0, "light": 0}
    async with Running([engine], FixedBatch(1), [heavy, light]):
        for i in range(80):
            for one in (heavy, light):
                while len(one.ingress) < 2:
                    one.ingress.put_nowait(frame(2 * i + len(one.ingress)))
            await settle()
            engine.let_go()
            await settle()
            for one in (heavy, light):
                while one.outbox:
                    served[one.name] += 1
                    one.outbox.take(next(iter(one.outbox)))
                    one.return_credit()
    assert served["heavy"] == pytest.approx(3 * served["light"], rel=0.2)


class CamerasOnly(FixedBatch):
    def decide(self, now: float, waiting: Sequence[Waiting], more: bool) -> Decision:
        live = tuple(w for w in waiting if w.stream == "camera")
        return Take(frames=live) if live else Wait()


async def test_what_cameras_leave_no_room_for_does_not_look_stuck():
    engine, camera, film = Engine(), lane("camera"), lane("film", live=False, credits=1)
    async with Running([engine], CamerasOnly(8), [camera, film]) as running:
        film.ingress.put_nowait(frame(0))
        await settle()
        running.clock.advance(5)
        assert running.batcher.held_up_s(running.clock.now()) == 5  # nobody takes it, and the engine is free
        camera.ingress.put_nowait(frame(1, captured_at=5))
        await settle()
        assert engine.batches == [[1]]
        running.clock.advance(2)
        assert running.batcher.held_up_s(running.clock.now()) == 2
        engine.let_go()
        await settle()
        assert running.batcher.held_up_s(running.clock.now()) == 0
        running.clock.advance(3)
        assert running.batcher.held_up_s(running.clock.now()) == 3


async def test_of_several_engines_that_which_is_held_up_for_longest_counts():
    one, other = Engine(), Engine()
    camera, film = lane("camera", credits=4), lane("film", live=False)
    async with Running([one, other], CamerasOnly(1), [camera, film]) as running:

        async def held_up_s(after_s: float) -> float:
            await settle()
            running.clock.advance(after_s)
            await settle()
            return running.batcher.held_up_s(running.clock.now())

        film.ingress.put_nowait(frame(9))
        for i in range(2):
            camera.ingress.put_nowait(frame(i))
            await held_up_s(1)
        assert (one.batches, other.batches) == ([[0]], [[1]])
        assert await held_up_s(1) == 3, "the first batch"
        one.let_go()
        assert await held_up_s(1) == 3, "the second one"
        other.let_go()
        assert await held_up_s(1) == 2, "the first engine could have taken the film since its batch"


async def test_what_its_outputs_hold_up_does_not_look_like_a_stuck_engine():
    engine, one = Engine(), lane("a", credits=1, live=False)
    async with Running([engine, Engine()], FixedBatch(1), [one]) as running:
        assert running.batcher.held_up_s(running.clock.now()) == 0
        for i in range(2):
            one.ingress.put_nowait(frame(i))
        await settle()
        running.clock.advance(2)
        assert running.batcher.held_up_s(running.clock.now()) == 2, "the first runs; the second has no credit"
        engine.let_go()
        await settle()
        running.clock.advance(3)
        assert running.batcher.held_up_s(running.clock.now()) == 0, "its result has not been taken"


def test_the_interval_and_the_age_of_frames_are_means_that_no_stall_moves_far():
    one = lane("a")
    for i in range(60):
        new = frame(2 * i, stream="a", captured_at=i * 0.08)  # every other one was dropped
        one.came(new, now=new.captured_at + 0.1)
        one.saw(new)
    assert (one.period_s, one.lag_s) == (pytest.approx(0.04), pytest.approx(0.1, rel=0.05))
    one.came(frame(120, stream="a", captured_at=5.0), now=10.0)
    assert one.lag_s == pytest.approx(0.111, rel=0.05)


async def test_an_outage_is_no_interval_between_frames():
    one = lane("a")
    for i, (at, epoch) in enumerate([(0.0, 0), (0.04, 0), (0.08, 0), (600.0, 1), (600.04, 1)]):
        one.saw(frame(i, captured_at=at, epoch=epoch))
    assert one.period_s == pytest.approx(0.04)


@pytest.mark.parametrize(("at", "even"), [((0.0, 0.04, 0.08, 0.12), True), ((0.0, 0.002, 0.1, 0.102), False)])
def test_when_a_frame_loses_its_place_is_known_where_frames_come_evenly(at: tuple[float, ...], even: bool):
    one = lane("a", live=True)
    for i in range(40):
        one.saw(frame(i, captured_at=at[i % 4] + i // 4 * (at[3] + at[3] - at[2])))
    newest = frame(40, captured_at=5.0)
    assert one.overrun_at(newest) == (pytest.approx(5.0 + one.ingress.capacity * 0.04) if even else math.inf)


async def test_a_late_frame_is_dropped_before_inference_and_counted():
    engine, one = Engine(), lane("a")
    policy = costly_batches(8, 0.1)
    async with Running([engine], policy, [one]) as running:
        one.ingress.put_nowait(frame(0))
        await settle()
        one.ingress.put_nowait(frame(1))
        running.clock.advance(0.095)
        engine.let_go()
        await settle()
        assert engine.batches == [[0]]
        assert one.metrics.dropped[Place.INGRESS, Cause.LATE] == 1


@pytest.mark.parametrize(("finishing_s", "left_s"), [(0.0, 0.1), (0.03, 0.07), (3.0, 0.05)])
async def test_finishing_has_its_part_of_the_budget_and_no_more(finishing_s: float, left_s: float):
    offered: list[Waiting] = []

    class Watched(LatencyBatch):
        def decide(self, now: float, waiting: Sequence[Waiting], more: bool) -> Decision:
            offered.extend(waiting)
            return super().decide(now, waiting, more)

    one = lane("a")
    one.finishing_s = finishing_s
    engine = Engine()
    async with Running([engine], Watched(0.1), [one]):
        one.ingress.put_nowait(frame(0))
        await settle()
        assert offered[0].deadline - offered[0].captured_at == pytest.approx(left_s)
        engine.let_go()


def test_what_finishing_takes_is_learned_quickly_and_forgotten_slowly():
    one = lane("a")
    after: list[float] = []
    for takes_s, results in ((0.03, 10), (0.0, 10), (0.0, 300)):
        for _ in range(results):
            one.return_credit(takes_s)
        after.append(one.finishing_s)
    assert after == [pytest.approx(0.03, rel=0.05), pytest.approx(0.024, rel=0.05), pytest.approx(0, abs=1e-3)]


async def test_fixed_batches_wait_for_more_but_not_for_what_cannot_come():
    engine = Engine()
    one, two = lane("a", live=False, capacity=4, credits=4), lane("b", live=False, capacity=4, credits=4)
    async with Running([engine], FixedBatch(4), [one, two]) as running:
        for i in range(3):
            one.ingress.put_nowait(frame(i))
        await settle()
        assert engine.batches == []
        running.clock.advance(0.3)  # the other one stalls
        await settle()
        assert engine.batches == [[0, 1, 2]]
        engine.let_go()
        await settle()
        await deliver(one, 3)
        for i in range(3, 6):
            one.ingress.put_nowait(frame(i, captured_at=0.3))
        await settle()
        assert len(engine.batches) == 1
        one.ingress.close()
        two.ingress.close()
        await settle()
        assert engine.batches == [[0, 1, 2], [3, 4, 5]]
        engine.let_go()


@pytest.mark.parametrize("at_its_end", [False, True], ids=["", "at its end"])
async def test_a_recording_whose_output_is_slow_still_goes_in_whole_batches(*, at_its_end: bool):
    engine, film = Engine(), lane("film", live=False, credits=3, capacity=6)
    async with Running([engine], FixedBatch(3), [film]) as running:
        for i in range(6):
            film.ingress.put_nowait(frame(i))
        await settle()
        engine.let_go()
        await settle()
        if at_its_end:
            film.ingress.close()
        # An output that takes one at a time; what is next has been waiting for long.
        for _ in range(3):
            assert engine.batches == [[0, 1, 2]]
            running.clock.advance(0.2)
            await film.outbox.get()
            film.return_credit(0.0, running.clock.now())
            await settle()
        assert engine.batches == [[0, 1, 2], [3, 4, 5]]
        engine.let_go()


async def test_a_slow_output_holds_up_no_recording_beside_it():
    engine = Engine()
    film, plain = (lane(name, live=False, credits=2, capacity=4) for name in ("film", "plain"))
    async with Running([engine], FixedBatch(4), [film, plain]) as running:
        for i in range(4):
            film.ingress.put_nowait(frame(i))
        running.clock.advance(0.3)
        await settle()
        engine.let_go()  # both of the film's go to an output that takes its time
        await settle()
        film.return_credit(0.0, running.clock.now())
        await film.outbox.get()
        before = len(engine.batches)
        for i in range(10, 12):
            plain.ingress.put_nowait(frame(i, captured_at=running.clock.now()))
        plain.ingress.close()
        await settle()
        assert [sorted(batch) for batch in engine.batches[before:]] == [[2, 10, 11]]
        engine.let_go()


async def test_an_output_that_takes_nothing_holds_up_no_frame_that_may_be_taken():
    engine, film = Engine(), lane("film", live=False, credits=3, capacity=6)
    async with Running([engine], FixedBatch(3), [film]) as running:
        for i in range(6):
            film.ingress.put_nowait(frame(i))
        await settle()
        engine.let_go()
        await settle()
        running.clock.advance(2.0)
        await film.outbox.get()
        film.return_credit(0.0, running.clock.now())
        await settle()
        assert engine.batches == [[0, 1, 2]]
        running.clock.advance(0.3)
        await settle()
        assert engine.batches == [[0, 1, 2], [3]]
        engine.let_go()


async def test_a_full_batch_starts_before_the_last_ones_results_are_out():
    film = lane("film", live=False, credits=8, capacity=8)
    engine, begun = Engine(), []

    async def finish() -> None:
        async for _, future in film.outbox:
            await future
            begun.append(len(engine.batches))

    async with Running([engine], FixedBatch(2), [film]):
        finishing = asyncio.create_task(finish())
        for i in range(6):
            film.ingress.put_nowait(frame(i))
        await settle()
        assert engine.batches == [[0, 1], [2, 3]], "the second waits at the engine"
        engine.let_go(0)
        await settle()
        assert engine.batches == [[0, 1], [2, 3], [4, 5]]
        assert begun == [3, 3]
        engine.let_go(1)
        engine.let_go(2)
    await finishing


async def test_what_a_camera_has_credits_for_starts_before_the_last_results_are_out():
    engine, camera, begun = Engine(), lane("camera", credits=3), []
    async with Running([engine], LatencyBatch(1e6), [camera]):
        camera.ingress.put_nowait(frame(0))
        await settle()
        camera.ingress.put_nowait(frame(1))
        (_, future) = await camera.outbox.get()
        future.add_done_callback(lambda _: begun.append(len(engine.batches)))
        engine.let_go()
        await settle()
        assert begun == [2]
        engine.let_go()


async def test_a_batch_that_returning_credits_would_fill_does_not_start_early():
    film = lane("film", live=False, credits=4, capacity=8)
    engine = Engine()
    async with Running([engine], FixedBatch(4), [film]):
        for i in range(6):
            film.ingress.put_nowait(frame(i))
        await settle()
        assert engine.batches == [[0, 1, 2, 3]]
        engine.let_go()
        await settle()
        assert len(engine.batches) == 1
        await deliver(film, 4)
        for i in range(6, 8):
            film.ingress.put_nowait(frame(i))
        await settle()
        assert engine.batches[1] == [4, 5, 6, 7]
        engine.let_go()


async def test_a_fixed_batch_is_not_cut_short_by_credits_on_their_way_back():
    film = lane("film", live=False, credits=6, capacity=8)
    engine = Engine()
    async with Running([engine], FixedBatch(4), [film]):
        for i in range(6):
            film.ingress.put_nowait(frame(i))
        await settle()
        engine.let_go()  # two wait, and two credits are left: with those that come back there could be four
        await settle()
        assert engine.batches == [[0, 1, 2, 3]]
        await deliver(film, 4)
        for i in range(6, 8):
            film.ingress.put_nowait(frame(i))
        await settle()
        assert engine.batches[1] == [4, 5, 6, 7]
        engine.let_go()


async def test_recordings_do_not_start_early_past_a_camera_whose_credits_come_back():
    film, camera = lane("film", live=False, credits=8, capacity=8), lane("camera")
    engine = Engine()
    async with Running([engine], costly_batches(2, 1e6), [film, camera]):
        for i in range(2):
            camera.ingress.put_nowait(frame(i))
        await settle()
        assert engine.batches == [[0, 1]]
        camera.ingress.put_nowait(frame(2))
        for i in range(4):
            film.ingress.put_nowait(frame(10 + i))
        engine.let_go()
        await asyncio.sleep(0)  # before anybody could deliver
        await deliver(camera, 2)
        await settle()
        assert engine.batches[1] == [2, 10]
        engine.let_go()


@pytest.mark.parametrize(
    "decide",
    [
        lambda waiting: Take(frames=(waiting[0], waiting[0])),
        lambda waiting: Take(frames=(waiting[1],)),
        lambda waiting: Take(frames=(waiting[1], waiting[0])),
        lambda waiting: Take(frames=tuple(waiting[:2]), drop=(waiting[0],)),
        lambda waiting: Take(frames=(), drop=(replace(waiting[0]),)),
    ],
    ids=["twice", "passes one over", "out of order", "taken and dropped", "drops what it was not offered"],
)
async def test_a_policy_that_cheats_is_caught(decide):
    class Cheat:
        max_frames, budget_s, engines = 4, 1.0, 1

        def decide(self, now, waiting, more):
            return decide(waiting) if len(waiting) > 1 else Wait()

        def observe(self, load, seconds):
            pass

    one = lane("a")
    running = Running([Engine()], Cheat(), [one])
    task = asyncio.create_task(running.batcher.run())
    for i in range(2):
        one.ingress.put_nowait(frame(i))
    one.ingress.close()
    running.batcher.close()
    with pytest.raises(PolicyError):
        await task
    assert one.failure is not None


async def test_a_policy_that_takes_more_than_it_says_is_caught():
    class Greedy(FixedBatch):
        def decide(self, now: float, waiting: Sequence[Waiting], more: bool) -> Decision:
            return Take(frames=tuple(waiting)) if len(waiting) > 1 else Wait()

    async def engine(images: Sequence[Image]) -> list[Poses]:
        return [poses_of(0) for _ in images]

    lanes = [lane("a"), lane("b")]
    running = Running([engine], Greedy(1), lanes)
    for one in lanes:
        one.ingress.put_nowait(frame(0))
        one.ingress.close()
    running.batcher.close()
    with pytest.raises(PolicyError, match="took 2 frames, over its 1"):
        await running.batcher.run()


@pytest.mark.parametrize(("until", "again_s"), [(5.0, 5.0), (1.0, 1.02)])
async def test_a_policy_that_waits_is_asked_again_then_and_not_before(until: float, again_s: float):
    """One that waits for what is past, a little later: it would be asked for ever."""
    asked: list[float] = []

    class Waits(FixedBatch):
        def decide(self, now: float, waiting: Sequence[Waiting], more: bool) -> Decision:
            asked.append(now)
            return Wait(until=until)

    one = lane("a")
    async with Running([Engine()], Waits(1), [one]) as running:
        running.clock.advance(1.0)
        one.ingress.put_nowait(frame(0))
        await settle()
        for seconds in (again_s - 1.001, 0.001):
            running.clock.advance(seconds)
            await settle()
        assert asked == [1.0, pytest.approx(again_s)]
        one.clear()


async def test_a_policy_may_take_nothing_and_one_that_drops_is_asked_again_at_once():
    class Picky(FixedBatch):
        def decide(self, now: float, waiting: Sequence[Waiting], more: bool) -> Decision:
            answers = [Take(frames=()), Take(frames=(), drop=tuple(waiting[:1])), Take(frames=tuple(waiting))]
            asked.append(len(waiting))
            return answers[min(len(asked), 3) - 1]

    engine, one = Engine(), lane("a")
    asked: list[int] = []
    async with Running([engine], Picky(4), [one]):
        one.ingress.put_nowait(frame(0))
        await settle()
        assert (asked, engine.batches) == ([1], [])
        one.ingress.put_nowait(frame(1))
        await settle()
        assert (asked, engine.batches) == ([1, 2, 1], [[1]])
        assert one.metrics.dropped == {(Place.INGRESS, Cause.LATE): 1}
        engine.let_go()


async def test_the_next_batch_is_with_the_engine_before_the_last_one_is_done():
    engine, one = Engine(), lane("a", live=False, credits=8, capacity=8)
    async with Running([engine], FixedBatch(2), [one]) as running:
        for i in range(6):
            one.ingress.put_nowait(frame(i))
        await settle()
        assert engine.batches == [[0, 1], [2, 3]]
        running.clock.advance(1.0)
        engine.let_go(0)
        await settle()
        assert engine.batches == [[0, 1], [2, 3], [4, 5]]
        running.clock.advance(0.5)
        engine.let_go(1)
        engine.let_go(2)
        await settle()
        # The second one began when the first one was done.
        assert running.batcher.metrics.snapshot().busy_s == pytest.approx(1.5)
        results = [await future for _, future in one.outbox]
        assert [(r.taken_at, r.inferred_at) for r in results[:4]] == [(0, 1)] * 2 + [(1, 1.5)] * 2


async def test_one_function_twice_is_two_engines():
    engine, one = Engine(), lane("a", live=False, credits=8, capacity=8)
    async with Running([engine, engine], FixedBatch(2), [one]) as running:
        for i in range(4):
            one.ingress.put_nowait(frame(i))
        await settle()
        running.clock.advance(1.0)
        engine.let_go(0)
        await settle()
        engine.let_go(1)
        await settle()
        assert running.batcher.metrics.snapshot().busy_s == pytest.approx(2.0)


class Foresighted(FixedBatch):
    """Knows that batches take a second."""

    budget_s = 0.1

    def expected_s(self, load: Load) -> float:
        return 1.0


async def test_live_frames_are_given_to_an_engine_just_before_it_is_free():
    engine, one = Engine(), lane("a", credits=4, capacity=4)
    engine.lead_s = 0.1
    asked: list[float] = []

    class Policy(Foresighted):
        def decide(self, now, waiting, more):
            asked.append(now)
            return super().decide(now, waiting, more)

    async with Running([engine], Policy(1), [one]) as running:
        for i in range(3):
            one.ingress.put_nowait(frame(i))
        await settle()
        assert engine.batches == [[0]]
        running.clock.advance(0.85)
        await settle()
        assert engine.batches == [[0]], "not yet"
        running.clock.advance(0.1)
        await settle()
        assert engine.batches == [[0], [1]]
        assert asked == pytest.approx([0.0, 1.0]), "when it will begin"
        running.clock.advance(0.1)
        engine.let_go(0)
        await settle()
        assert engine.batches == [[0], [1]], "the second one runs now, for a second"
        running.clock.advance(1.5)
        await settle()
        assert engine.batches == [[0], [1]], "it is overdue: nobody knows when it will be done"
        engine.let_go(1)
        await settle()
        assert engine.batches == [[0], [1], [2]]
        engine.let_go(2)
        # The second one ran from the end of the first one on.
        assert running.batcher.metrics.snapshot().busy_s == pytest.approx(1.05 + 1.5)


async def test_policies_that_do_not_know_the_cost_are_asked_with_the_time_that_it_is():
    engine, one, asked = Engine(), lane("a", live=False, credits=8, capacity=8), []

    class Policy(FixedBatch):
        def decide(self, now, waiting, more):
            asked.append(now)
            return super().decide(now, waiting, more)

    async with Running([engine], Policy(2), [one]):
        for i in range(4):
            one.ingress.put_nowait(frame(i))
        await settle()
        assert engine.batches == [[0, 1], [2, 3]]
        engine.let_go(0)
        engine.let_go(1)
        await settle()
    assert asked
    assert all(now == 0.0 for now in asked)


async def test_an_engine_that_fails_at_once_ends_its_streams():
    def broken(images):
        raise RuntimeError("no device")

    one = lane("a")
    running = Running([broken], FixedBatch(1), [one])
    task = asyncio.create_task(running.batcher.run())
    one.ingress.put_nowait(frame(0))
    await settle()
    running.batcher.close()
    with pytest.raises(EngineFailed, match="no device"):
        await task
    _, future = await one.outbox.get()
    assert isinstance(future.exception(), EngineFailed)
    assert one.failure is not None


class Claims(FixedBatch):
    """Notes how many frames of its share each stream is said to lack."""

    def __init__(self) -> None:
        super().__init__(1)
        self.most: dict[str, float] = {}

    def decide(self, now: float, waiting: Sequence[Waiting], more: bool) -> Decision:
        for one in waiting:
            self.most[one.stream] = max(one.behind, self.most.get(one.stream, 0.0))
        return super().decide(now, waiting, more)


async def test_a_light_stream_can_lack_a_whole_frame_of_its_share_and_a_newcomer_nothing():
    engine, claims, heavy, light, new = Engine(), Claims(), lane("heavy"), lane("light", weight=0.25), lane("new")
    async with Running([engine], claims, [heavy, light]) as running:
        for i in range(8):
            heavy.ingress.put_nowait(frame(i))
            await settle()
            engine.let_go()
            await settle()
            await deliver(heavy, 1)
        running.batcher.add(new)
        for one in (light, new):
            one.ingress.put_nowait(frame(100))
            await settle()
            engine.let_go()
            await settle()
        new.ingress.close()
    assert claims.most == pytest.approx({"heavy": 0, "light": 1, "new": 0})


async def test_within_a_batch_too_a_heavy_stream_has_more():
    engine = Engine()
    heavy, light = lane("heavy", weight=3.0, credits=4, capacity=4), lane("light", credits=4, capacity=4)
    for i in range(4):
        heavy.ingress.put_nowait(frame(i))
        light.ingress.put_nowait(frame(10 + i))
    async with Running([engine], FixedBatch(4), [heavy, light]):
        assert sorted(engine.batches[0]) == [0, 1, 2, 10]
        engine.let_go()


async def test_people_are_counted_for_each_stream():
    async def engine(images):
        return [poses_of(1, people=int(image[0, 0, 0])) for image in images]

    few, many = lane("few"), lane("many")
    few.ingress.put_nowait(frame(0))
    many.ingress.put_nowait(frame(11))
    async with Running([engine], FixedBatch(2), [few, many]):
        await settle()
        assert (few.people, many.people) == (pytest.approx(0.9), pytest.approx(2.0))


async def test_an_engine_that_gives_no_poses_for_one_picture_has_failed():
    async def half(images):
        return [poses_of(1), None]

    one = lane("a")
    one.ingress.put_nowait(frame(0))
    one.ingress.put_nowait(frame(1))
    running = Running([half], FixedBatch(2), [one])
    one.ingress.close()
    running.batcher.close()
    with pytest.raises(EngineFailed, match="something else than Poses"):
        await running.batcher.run()


async def test_a_stream_that_is_gone_while_its_batch_runs_breaks_nothing():
    engine, gone, other = Engine(), lane("gone"), lane("other")
    async with Running([engine], FixedBatch(2), [gone, other]) as running:
        gone.ingress.put_nowait(frame(1))
        other.ingress.put_nowait(frame(2))
        await settle()
        _, future = await gone.outbox.get()
        future.cancel()
        engine.let_go()
        await settle()
        assert not running.task.done()
        _, future = await other.outbox.get()
        assert (await future).batch_size == 2


async def test_what_waits_already_when_a_stream_joins_is_taken():
    engine, one = Engine(), lane("a")
    async with Running([engine], FixedBatch(1), []) as running:
        one.ingress.put_nowait(frame(0))
        running.batcher.add(one)
        running.lanes.append(one)
        await settle()
        assert engine.batches == [[0]]
        engine.let_go()


async def test_the_policy_learns_how_long_each_batch_took_and_how_many_were_in_it():
    engine, one, learned = Engine(), lane("a"), []

    class Learns(FixedBatch):
        def observe(self, load: Load, seconds: float) -> None:
            learned.append((load, seconds))

    async with Running([engine], Learns(2), [one]) as running:
        for i in range(2):
            one.ingress.put_nowait(frame(i))
        await settle()
        running.clock.advance(0.25)
        engine.let_go()
        await settle()
        assert learned == [(Load(frames=2, people=2), 0.25)]


async def test_whoever_waits_for_its_end_is_told_of_a_failure_once():
    def broken(images: Sequence[Image]) -> None:
        raise ValueError("no model")

    one, told = lane("a"), []
    async with Running([broken], FixedBatch(1), [one], on_failure=lambda: told.append(one.failure)):
        one.ingress.put_nowait(frame(0))
        await settle()
        assert [str(error) for error in told] == ["the model failed: ValueError: no model"]


async def test_it_runs_until_it_is_closed_and_all_streams_have_ended():
    engine, one = Engine(), lane("a")
    async with Running([engine], FixedBatch(1), []) as running:
        assert not running.task.done()
        running.batcher.add(one)
        running.batcher.close()
        await settle()
        assert not running.task.done()
        one.ingress.close()
        await settle()
        assert running.task.done()


async def test_who_joins_after_a_failure_is_told_of_it():
    def broken(images):
        raise RuntimeError("no device")

    one, late = lane("a"), lane("late")
    one.ingress.put_nowait(frame(0))
    async with Running([broken], FixedBatch(1), [one]) as running:
        running.batcher.add(late)
        assert isinstance(late.failure, EngineFailed)
        assert late.ingress.closed


async def test_an_engine_that_takes_nothing_is_not_held_up_by_what_it_was_not_given():
    def broken(_: Sequence[Image]) -> list[Poses]:
        raise EngineFailed("no thread for it")

    batcher = Batcher([broken], FixedBatch(1), clock := VirtualClock())  # type: ignore[list-item]
    batcher.add(one := lane("a"))
    await one.ingress.put(frame(0))
    batcher.close()
    with pytest.raises(EngineFailed, match="no thread"):
        await batcher.run()
    clock.advance(60)
    assert batcher.held_up_s(clock.now()) == 0


async def test_frames_of_a_moment_that_is_still_to_come_are_just_here():
    """Their times are a camera's, whose clock is a little ahead: a negative age ran away, and each was given up."""
    one = lane("a")
    for i in range(200):
        one.came(frame(i, stream="a", captured_at=i / 15 + 0.05), now=i / 15)
    assert one.lag_s == 0
    one.came(frame(200, stream="a", captured_at=20.0), now=20.005)
    assert 0 < one.lag_s < 0.001
