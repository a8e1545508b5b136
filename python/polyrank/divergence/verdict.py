"""Decides which operation of a trail is at fault, by what should have agreed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polyrank.any_world.rank_names import rank_names
from polyrank.divergence.blame import Root, Trail, Visit, differs, trail
from polyrank.divergence.content import Content
from polyrank.divergence.faults import Fault, fault_of_meeting, fault_of_order, fault_of_rows
from polyrank.divergence.finding import Finding, Site, Step, held_by_ranks, site_of
from polyrank.divergence.operations import Key, Operation
from polyrank.divergence.reduced import reducing_collective
from polyrank.divergence.streams import parting_of

__all__ = ["Case", "verdict"]

_MOST_STEPS = 6  # told of a path
_MOST_GROUPS = 4


@dataclass
class Case:
    """A tensor that two ranks should hold alike and do not."""

    subject: str
    ranks: list[int]  # that should agree
    contents: list[Content]
    when: str
    pair: tuple[int, int]  # two that differ
    writers: tuple[Sequence[Operation], Sequence[Operation]]  # of what they hold
    versions: tuple[int, int]  # how often they have written it
    shape: tuple[Any, ...]
    logs: tuple[Mapping[Key, Operation], Mapping[Key, Operation]]
    # Whether most other gradients are reduced over the pair, and whether a collective made it equal.
    gradients_meet: bool = False
    was_joined: bool = False
    # Whether it was equal before, so that what wrote it last is to blame, or what that took.
    is_update: bool = True
    reduced_by: Operation | None = None  # of what never agreed, what joins its gradients


def verdict(case: Case) -> Finding | None:
    """The finding; None: what differs has a reason that is no fault."""
    found = trail(case.pair, case.writers, case.logs)
    if not found.visits:
        held = held_by_ranks(case.contents)
        return Finding(
            case.subject, case.ranks, "not recorded", Site("", 0), _UNSEEN, held, case.when
        )
    fault = _fault_of_update(case, found) if case.is_update else _fault_of_start(case, found)
    if fault is None:
        return None
    fault = _drawn_apart(fault.visit, found) or fault
    visit = fault.visit
    return Finding(
        subject=case.subject,
        ranks=case.ranks,
        operation=visit.operation.name,
        site=site_of(visit.operation.place),
        cause=fault.cause,
        held=held_by_ranks(case.contents),
        when=case.when,
        operands=list(_operands(visit, found)),
        path=list(_path(visit)),
    )


def _drawn_apart(visit: Visit, found: Trail) -> Fault | None:
    """Where the streams part that the two draw from there; None: they draw nothing, or seeded them apart."""
    if visit.root is not Root.RANDOM or visit.other is None:
        return None
    streams = visit.operation.stream, visit.other.stream
    if streams[0] is None or streams[1] is None:
        return None
    parting = parting_of((streams[0], streams[1]), found.logs, found.ranks)
    if parting is None:
        return None
    return Fault(Visit(parting.operation, None, leads_to=visit), parting.cause(found.ranks))


_UNSEEN = "no operator that was recorded wrote it: it was written before recording began, or outside of PyTorch's operators"


def _fault_of_start(case: Case, found: Trail) -> Fault:
    """Of what never agreed: where it was made, or where it was taken for what agrees."""
    roots = found.roots()
    if not roots:
        return Fault(found.visits[0], "gives ranks different results")
    only = [visit for visit in roots if visit.root is Root.ONLY_ONE]
    visit = (only or roots)[0]
    if case.reduced_by is not None and visit.root in (Root.NUMBER, Root.DISTRIBUTES, Root.SHARD):
        reduction = Visit(case.reduced_by, found.logs[1].get(case.reduced_by.key))
        return Fault(
            reduction,
            f"joins the gradients of {rank_names(case.ranks)}, which hold different parts of "
            f"{case.subject} since {site_of(visit.operation.place)}",
        )
    return Fault(visit, _cause(visit, found))


def _fault_of_update(case: Case, found: Trail) -> Fault | None:
    """Of what agreed before."""
    if (left_out := _update_left_out(case, found)) is not None:
        return left_out
    update = _first_update(found)
    backward = [visit for visit in found.visits if visit.operation.place.phase == "backward"]
    made = [visit for visit in backward if visit.operation.made_by and not visit.operation.is_view]
    gradient = next(iter(made or backward), None)
    fault = (
        _fault_of_some(update, gradient, found)
        or fault_of_order(update, found)
        or _fault_of_one_taker(gradient, found)
        or _fault_of_agreed(case, gradient, found)
        or fault_of_rows(found)
        or _fault_of_group(case, gradient, found)
    )
    if fault is not None:
        return fault
    if gradient is not None and (_is_pipeline(case, found) or _is_expert(gradient, found)):
        return None
    return _fault_within(case, found) or Fault(
        _earliest_of_step(update, found),
        _out_of_step(update, found) or _missing(case, gradient or update),
    )


def _update_left_out(case: Case, found: Trail) -> Fault | None:
    """An optimizer's step that updates it on one of the two: on the other it has no gradient, say.

    Operators are then paired with those of other parameters, so that no way back means anything.
    """
    if case.versions[0] == case.versions[1]:
        return None
    more = int(case.versions[0] < case.versions[1])
    last = next((one for one in case.writers[more] if not one.is_view), None)
    if last is None or last.place.phase != "optimizer":
        return None
    visit = Visit(last, None, root=Root.ONLY_ONE, only_on=found.ranks[more])
    return Fault(
        visit, f"updates it on rank {found.ranks[more]}, and not on rank {found.ranks[1 - more]}"
    )


def _fault_of_some(update: Visit, gradient: Visit | None, found: Trail) -> Fault | None:
    """What some of the ranks did and others did not."""
    roots = found.roots()
    if update.root is Root.ONLY_ONE:
        return Fault(update, _cause(update, found))
    if gradient is None and roots and all(root.root is Root.ONLY_ONE for root in roots):
        return Fault(roots[0], _cause(roots[0], found))
    return None


def _fault_of_one_taker(gradient: Visit | None, found: Trail) -> Fault | None:
    """A reduction after the gradient whose result one rank alone gets."""
    after = -1 if gradient is None else gradient.operation.number
    taken = [
        visit
        for visit in found.visits
        if visit.operation.kind == "reduce"
        and visit.operation.joins(*found.ranks)
        and visit.operation.number > after
    ]
    if not taken:
        return None
    return Fault(taken[0], f"gives its result to one rank, and {rank_names(found.ranks)} take it")


def _fault_of_agreed(case: Case, gradient: Visit | None, found: Trail) -> Fault | None:
    """Where a gradient that was reduced meets what differs."""
    parted = _parting_of_agreed(case, found, gradient)
    if parted is None:
        return None
    only = _only_roots(parted, found)
    if only is not None:
        return Fault(only, _cause(only, found))
    return Fault(parted, "combines what the ranks hold alike with what they do not")


def _fault_of_group(case: Case, gradient: Visit | None, found: Trail) -> Fault | None:
    """A collective after the gradient whose group does not join the ranks."""
    after = -1 if gradient is None else gradient.operation.number
    apart = [
        visit
        for visit in found.visits
        if visit.operation.kind in ("all_reduce", "reduce_scatter", "all_gather")
        and visit.operation.groups
        and not visit.operation.joins(*case.pair)
        and visit.operation.number > after
    ]
    if not apart:
        return None
    groups = apart[0].operation.groups
    joined = ", ".join(rank_names(group) for group in groups[:_MOST_GROUPS])
    return Fault(apart[0], f"its group joins {joined}, not {rank_names(case.ranks)}")


def _earliest_of_step(update: Visit, found: Trail) -> Visit:
    """The first operation of the optimizer's step that takes what differs."""
    same = [visit for visit in found.visits if visit.differing and _same_step(visit, update)]
    return min([update, *same], key=lambda visit: visit.operation.number)


def _same_step(visit: Visit, update: Visit) -> bool:
    """Whether both are of one optimizer step: no backward lies between them."""
    step = visit
    while step is not update:
        if step.operation.place.phase != "optimizer" or step.leads_to is None:
            return False
        step = step.leads_to
    return True


def _first_update(found: Trail) -> Visit:
    """The first write that parted the tensor: those after it found it different already."""
    visit = found.visits[0]
    by_operation = {id(one.operation): one for one in found.visits}
    while True:
        pairs = list(visit.pairs())
        before = [
            by_operation[id(writer)]
            for index in visit.differing
            if pairs[index][0].is_written
            for writer in pairs[index][0].writers[:1]
            if id(writer) in by_operation
        ]
        if not before:
            return visit
        visit = before[0]


def _is_pipeline(case: Case, found: Trail) -> bool:
    """Whether the two are stages, which hold layers of their own."""
    return _has_messages(found) and not case.gradients_meet and not case.was_joined


def _has_messages(found: Trail) -> bool:
    """Whether one of the two got any message. Not only on the trail, which ends where stages differ."""
    return any(
        operation.kind in ("recv", "send_recv") for log in found.logs for operation in log.values()
    )


def _fault_within(case: Case, found: Trail) -> Fault | None:
    """Where the model parts ranks that take the same data; None: their data differ."""
    roots = found.roots()
    inside = [visit for visit in roots if _is_inside(visit)]
    shards = [visit for visit in roots if visit.root is Root.SHARD]
    if len(inside) + len(shards) < len(roots) or not roots or _has_messages(found):
        return None
    if inside:
        return Fault(inside[0], _cause(inside[0], found))
    if (met := fault_of_meeting(case.ranks, found)) is not None:
        return met
    return Fault(
        _last_shard(found) or shards[-1],
        f"takes each rank's own part of a parameter, and no collective over "
        f"{rank_names(case.ranks)} follows before its result is taken for everyone's",
    )


def _out_of_step(update: Visit, found: Trail) -> str:
    """What to say where a rank has left a step out, and takes a later gradient than the other; empty: none has."""
    pairs = list(update.pairs())
    for mine, theirs in (pairs[index] for index in update.differing):
        for one, other in zip(mine.writers, theirs.writers, strict=False):
            if one.key[:-1] == other.key[:-1] and one.key.occurrence != other.key.occurrence:
                late = found.ranks[one.key.occurrence < other.key.occurrence]
                return (
                    f"rank {late} has left out a step that another rank has taken, and takes here what "
                    "comes later there"
                )
    return ""


def _missing(case: Case, gradient: Visit) -> str:
    operation = gradient.operation
    where = operation.made_by or operation.place
    what = "the gradient" if operation.place.phase == "backward" else "what it takes"
    return (
        f"a reduction over {rank_names(case.ranks)} is missing: {what} comes from "
        f"{operation.name} of {site_of(where)}, and no collective joins the ranks after that"
    )


def _is_inside(visit: Visit) -> bool:
    """Whether the ranks part within the model, by random numbers or by what only some do."""
    operation = visit.operation
    if visit.root is Root.RANDOM:
        is_dropout = operation.name in ("aten::bernoulli_", "aten::native_dropout")
        return bool(operation.place.module) or is_dropout
    return (
        visit.root is Root.ONLY_ONE
        and operation.place.phase == "forward"
        and bool(operation.place.module)
    )


def _parting_of_agreed(case: Case, found: Trail, gradient: Visit | None) -> Visit | None:
    """Where a gradient that was reduced meets what differs; the earliest."""
    after = -1 if gradient is None else gradient.operation.number
    parted = [
        visit
        for visit in found.visits
        if visit.root is not Root.ONLY_ONE
        and visit.differing
        and (
            (visit.root is Root.NUMBER and visit.operation.place.phase == "optimizer")
            or (visit.operation.number > after and _takes_reduced(case, visit, found))
        )
    ]
    return min(parted, key=lambda visit: visit.operation.number) if parted else None


def _takes_reduced(case: Case, visit: Visit, found: Trail) -> bool:
    return any(
        mine.shape == case.shape
        and not mine.is_parameter
        and (mine.is_written or visit.operation.place.phase != "backward")
        and not differs(mine, other, found.ranks)
        and reducing_collective(mine.writers, found.ranks) is not None
        for mine, other in visit.pairs()
        if not mine.is_scalar
    )


def _only_roots(visit: Visit, found: Trail) -> Visit | None:
    """The first operation that one rank alone ran, if all that differs in the visit comes of such."""
    pairs = list(visit.pairs())
    roots: list[Visit] = []
    for index in visit.differing:
        mine, other = pairs[index]
        if not mine.is_scalar:
            roots += trail(found.ranks, (mine.writers, other.writers), found.logs).roots()
    if roots and all(root.root is Root.ONLY_ONE for root in roots):
        return min(roots, key=lambda root: root.operation.number)
    return None


def _is_expert(gradient: Visit, found: Trail) -> bool:
    """Whether the activations that the gradient was computed of came by an all-to-all only."""
    kinds: set[str] = set()
    seen: set[int] = set()
    forward = gradient.operation.forward
    other = None if forward is None else found.logs[1].get(forward.key)
    if forward is None or other is None:
        return False
    waiting = [
        writer
        for mine, theirs in zip(forward.operands, other.operands, strict=False)
        if differs(mine, theirs, found.ranks) and not mine.is_parameter
        for writer in mine.writers
    ]
    while waiting:
        operation = waiting.pop()
        if id(operation) in seen:
            continue
        seen.add(id(operation))
        if operation.kind:
            kinds.add(operation.kind)
            continue
        counterpart = found.logs[1].get(operation.key)
        if counterpart is None:
            continue
        before = [
            writer
            for mine, theirs in zip(operation.operands, counterpart.operands, strict=False)
            if differs(mine, theirs, found.ranks) and not mine.is_parameter
            for writer in mine.writers
        ]
        if not before:
            kinds.add("")
        waiting += before
    return kinds == {"all_to_all"}


def _last_shard(found: Trail) -> Visit | None:
    """The last forward operation that took a shard."""
    forward = [
        visit
        for visit in found.visits
        if visit.operation.place.phase == "forward"
        and any(m.is_parameter and differs(m, o, found.ranks) for m, o in visit.pairs())
    ]
    return max(forward, key=lambda visit: visit.operation.number) if forward else None


def _cause(visit: Visit, found: Trail) -> str:
    assert visit.root is not None  # noqa: S101
    if visit.root is Root.ONLY_ONE:
        other = found.ranks[1] if visit.only_on == found.ranks[0] else found.ranks[0]
        return f"runs on rank {visit.only_on}, and not on rank {other}"
    return f"of {rank_names(found.ranks)} each {visit.root.value}"


def _operands(visit: Visit, found: Trail) -> Iterator[str]:
    pairs = list(visit.pairs())
    for index in visit.differing:
        mine, other = pairs[index]
        contents = [content for content in (mine.content, other.content) if content is not None]
        held = "; ".join(
            f"{share.shown} on rank {rank}"
            for rank, content in zip(found.ranks, contents, strict=False)
            for share in content
            if share.holds(rank)
        )
        origin = ""
        if mine.writers:
            writer = mine.writers[0]
            origin = f", made by {writer.name} at {site_of(writer.place)}"
            if writer.made_by is not None:
                origin += f", the backward of {site_of(writer.made_by)}"
        yield f"{mine.name} ({held}{origin})"


def _path(visit: Visit) -> Iterator[Step]:
    steps = []
    while (visit := visit.leads_to) is not None:  # type: ignore[assignment]
        steps.append(visit)
    shown = steps if len(steps) <= _MOST_STEPS else [*steps[:2], *steps[-(_MOST_STEPS - 2) :]]
    for step in shown:
        operation = step.operation
        where = operation.made_by or operation.place
        says = "its gradient differs" if operation.made_by is not None else "its result differs"
        yield Step(
            operation.name, Site(where.file, where.line, where.module, operation.place.phase), says
        )
