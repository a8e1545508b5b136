"""What starts after what: laws of the graph, beside the timeline that the core computed."""

from __future__ import annotations

import json
import random
from typing import Any

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank import _C
from polyrank.forecast.work_graph import work_graph

WIDTH = 2048


def starts_on_the_timeline(timeline: _C.GpuTimeline) -> list[tuple[str, int, int]]:
    """Name, start and duration of each work, in nanoseconds, in the order of launches."""
    events = json.loads(timeline.chrome_trace(0))["traceEvents"]
    works = [event for event in events if event["ph"] == "X" and event["tid"] != 0]
    return [
        (event["name"], round(event["ts"] * 1000), round(event["dur"] * 1000)) for event in works
    ]


def checked_graph(timeline: _C.GpuTimeline) -> list[Any]:
    recording = timeline.recording(0)
    graph = work_graph(recording)
    works = [node for node in graph if not node.is_host]
    assert [node.work for node in works] == list(range(len(recording["kind"])))
    for number, node in enumerate(graph):
        assert all(before < number for before in node.after)  # law 1
        latest = max((graph[before].end_ns for before in node.after), default=0)
        assert node.start_ns == latest  # law 2
        if not node.is_host:
            assert node.launched_by in node.after
            assert graph[node.launched_by].work == node.work
    named = [
        (
            recording["texts"][recording["name"][node.work]],
            node.start_ns,
            node.end_ns - node.start_ns,
        )
        for node in works
    ]
    assert named == starts_on_the_timeline(timeline)  # law 3
    return graph


def test_one_stream_is_a_chain() -> None:
    with polyrank.forecast(time=True) as f:
        matrix = torch.empty(WIDTH, WIDTH, device="cuda", dtype=torch.bfloat16)
        for _ in range(3):
            matrix @ matrix
    assert f.timeline is not None
    works = [node for node in checked_graph(f.timeline) if not node.is_host]
    assert len(works) == 3
    numbers = [i for i, node in enumerate(checked_graph(f.timeline)) if not node.is_host]
    for before, node in zip(numbers, works[1:], strict=False):
        assert set(node.after) == {before, node.launched_by}


def test_a_stream_waits_for_another_one() -> None:
    with polyrank.forecast(time=True) as f:
        matrix = torch.empty(WIDTH, WIDTH, device="cuda", dtype=torch.bfloat16)
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            matrix @ matrix
        matrix @ matrix
        torch.cuda.current_stream().wait_stream(side)
        matrix @ matrix
        matrix @ matrix  # what its stream waited for is over by then: not named again
    assert f.timeline is not None
    graph = checked_graph(f.timeline)
    first, second, third, last = (i for i, node in enumerate(graph) if not node.is_host)
    assert first not in graph[second].after
    assert {first, second} < set(graph[third].after)
    assert first not in graph[last].after


def test_the_cpu_waits_for_the_gpu() -> None:
    with polyrank.forecast(time=True) as f:
        matrix = torch.empty(WIDTH, WIDTH, device="cuda", dtype=torch.bfloat16)
        matrix @ matrix
        torch.cuda.synchronize()
        matrix @ matrix
    assert f.timeline is not None
    graph = checked_graph(f.timeline)
    first, second = (i for i, node in enumerate(graph) if not node.is_host)
    assert first in graph[graph[second].launched_by].after


def test_a_collective_waits_for_its_operand_and_who_waits_for_it() -> None:
    with polyrank.forecast(world_size=8, time=True) as f:
        matrix = torch.empty(WIDTH, WIDTH, device="cuda", dtype=torch.bfloat16)
        made = matrix @ matrix
        work = dist.all_reduce(made, async_op=True)
        matrix @ matrix
        assert work is not None
        work.wait()
        made + made
    assert f.timeline is not None
    graph = checked_graph(f.timeline)
    mm, reduce, other, add = (i for i, node in enumerate(graph) if not node.is_host)
    assert mm in graph[reduce].after
    assert reduce not in graph[other].after
    assert {reduce, other} <= set(graph[add].after)


@pytest.mark.parametrize("seed", range(8))
def test_random_programs_run_as_on_the_timeline(seed: int) -> None:
    draw = random.Random(seed)
    with polyrank.forecast(world_size=8, time=True) as f:
        matrices = [torch.empty(draw.choice([64, 512, 4096]), 512, device="cuda") for _ in range(6)]
        streams = [torch.cuda.current_stream(), *(torch.cuda.Stream() for _ in range(3))]
        events = [torch.cuda.Event() for _ in range(4)]
        works: list[Any] = []
        for _ in range(200):
            matrix = draw.choice(matrices)
            with torch.cuda.stream(draw.choice(streams)):
                match draw.randrange(9):
                    case 0 | 1 | 2:
                        matrix @ matrix.T
                    case 3:
                        works.append(dist.all_reduce(matrix, async_op=True))
                    case 4 if works:
                        works.pop(draw.randrange(len(works))).wait()
                    case 5:
                        draw.choice(events).record()
                    case 6:
                        draw.choice(events).wait()
                    case 7:
                        draw.choice(events).synchronize()
                    case 8 if draw.random() < 0.2:
                        torch.cuda.synchronize()
    assert f.timeline is not None
    checked_graph(f.timeline)
