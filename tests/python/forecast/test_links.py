"""What several groups and uneven messages do to a GPU's links."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polyrank
import pytest
import torch
import torch.distributed as dist
from polyrank.forecast import clusters

ROWS = 1 << 20
ROW_BYTES = 1 << 10
NODE_GB_S, NETWORK_GB_S = 370.8, 50  # of dgx-h100
LATENCY_NS = 30_000  # more than that of any message


def nanoseconds(program: Callable[[], object], cluster: str = "dgx-h100", ranks: int = 16) -> float:
    """How long communication takes on rank 0."""
    with polyrank.forecast(cluster, world_size=ranks, rank=0, time=True) as f:
        program()
    return f.time.whole.communication_ns


def rows(number: int) -> torch.Tensor:
    return torch.empty(number, ROW_BYTES, dtype=torch.uint8, device="cuda")


def all_to_all(sent: dict[int, int], received: dict[int, int]) -> None:
    sent_rows = [sent.get(rank, 0) for rank in range(16)]
    received_rows = [received.get(rank, 0) for rank in range(16)]
    dist.all_to_all_single(rows(sum(received_rows)), rows(sum(sent_rows)), received_rows, sent_rows)


@pytest.mark.parametrize(
    ("sent", "received", "speed"),
    [
        ({1: ROWS}, {1: ROWS}, NODE_GB_S),
        ({9: ROWS}, {1: ROWS}, NETWORK_GB_S),  # the network is the busiest link
        ({1: 8}, {9: ROWS}, NETWORK_GB_S),  # who receives most is as slow as who sends most
        ({1: 8}, {1: ROWS}, NODE_GB_S),
        ({1: ROWS // 2, 2: ROWS // 2}, {9: 8}, NODE_GB_S),  # all that goes over a link
    ],
)
def test_an_uneven_all_to_all_takes_its_busiest_link(
    sent: dict[int, int], received: dict[int, int], speed: float
) -> None:
    time = nanoseconds(lambda: all_to_all(sent, received))
    assert ROWS * ROW_BYTES / speed < time < ROWS * ROW_BYTES / speed + LATENCY_NS


def test_what_a_rank_keeps_goes_over_no_link() -> None:
    assert nanoseconds(lambda: all_to_all({0: ROWS}, {0: ROWS})) < LATENCY_NS


def test_lists_of_tensors_may_be_uneven_too() -> None:
    def program() -> None:
        sizes = [ROWS if rank == 9 else 8 for rank in range(16)]
        dist.all_to_all([rows(8) for _ in sizes], [rows(size) for size in sizes])

    assert nanoseconds(program) == pytest.approx(ROWS * ROW_BYTES / NETWORK_GB_S, abs=LATENCY_NS)


def test_a_batch_of_messages_goes_where_its_peers_are() -> None:
    def program(peer: int) -> None:
        works = dist.batch_isend_irecv(
            [dist.P2POp(dist.isend, rows(ROWS), peer), dist.P2POp(dist.irecv, rows(ROWS), peer)]
        )
        for work in works:
            work.wait()

    size = ROWS * ROW_BYTES
    latency = 2 * LATENCY_NS  # the second one is launched later
    assert nanoseconds(lambda: program(1)) == pytest.approx(size / NODE_GB_S, abs=latency)
    assert nanoseconds(lambda: program(9)) == pytest.approx(size / NETWORK_GB_S, abs=latency)


def at_once(groups: list[list[int]]) -> None:
    """A gather in each group, all of them begun before one is waited for."""
    whole = rows(ROWS)
    works = []
    for ranks in groups:
        group = dist.new_group(ranks)
        part = rows(ROWS // len(ranks))
        works.append(dist.all_gather_into_tensor(whole, part, group=group, async_op=True))
    for work in works:
        assert work is not None
        work.wait()


def test_groups_on_the_same_links_share_them() -> None:
    first, second = [*range(8)], [*range(4)]
    alone = [nanoseconds(lambda group=group: at_once([group])) for group in (first, second)]
    together = nanoseconds(lambda: at_once([first, second]))
    assert together == pytest.approx(sum(alone), rel=0.05)


def test_groups_on_other_links_do_not() -> None:
    in_node, between = [*range(8)], [0, 8]
    alone = [nanoseconds(lambda group=group: at_once([group])) for group in (in_node, between)]
    assert nanoseconds(lambda: at_once([in_node, between])) == pytest.approx(max(alone), rel=0.01)


def with_cards(cards: int, folder: Path) -> str:
    source = Path(clusters.__file__).with_name("clusters") / "dgx-h100.toml"
    file = folder / f"cards-{cards}.toml"
    line = f'network_cards = {{ value = {cards}, source = "a test" }}'
    file.write_text(source.read_text().replace("[links]", f"[links]\n{line}\n#", 1))
    return str(file)


def test_each_gpu_on_its_own_rail_has_it_for_itself(tmp_path: Path) -> None:
    """Eight data-parallel groups over the same nodes: with eight cards nobody is slowed, with four all are."""
    rail = [*range(0, 32, 8)]
    whole_nodes = [*range(32)]

    def time(group: list[int], cards: int) -> float:
        return nanoseconds(lambda: at_once([group]), with_cards(cards, tmp_path), ranks=32)

    assert time(rail, 8) == nanoseconds(lambda: at_once([rail]), ranks=32)
    assert time(rail, 4) / time(rail, 8) == pytest.approx(48 / 25, rel=0.01)
    assert time(whole_nodes, 4) / time(whole_nodes, 8) == pytest.approx(2, rel=0.03)
