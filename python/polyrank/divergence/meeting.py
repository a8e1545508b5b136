"""Where what the ranks told of their tensors meets, and is judged."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from polyrank.divergence.content import groups_of
from polyrank.divergence.finding import Finding, held_by_ranks, site_of
from polyrank.divergence.reduced import reduced_before, reducing_collective, written_by
from polyrank.divergence.stream_findings import (
    declared_stream_finding,
    drawn_in_parts,
    joined_stream_finding,
    stream_finding,
)
from polyrank.divergence.streams import CPU_STREAM, RANDOM_STREAM
from polyrank.divergence.telling import Telling
from polyrank.divergence.verdict import Case, verdict
from polyrank.divergence.watch import Facts, Shards, Told, Watch

__all__ = ["Meeting", "Suspicion"]

_MOST_FINDINGS = 5

# Moments.
_FIRST_SEEN, _GRADIENTS, _STEP, _DECLARED = "first seen", "gradients", "optimizer step", "declared"
_TAKEN, _GRADIENT_TAKEN = "taken", "gradient taken"  # by a collective


@dataclass(frozen=True)
class Suspicion:
    """What was seen to differ, before anybody looked for the reason."""

    subject: str
    when: str
    ranks: list[int]


class Meeting:
    """What all ranks of one run told, and what came of it.

    Ranks that are threads share one. It judges a moment when the last rank has told it, or as the
    block ends.
    """

    def __init__(self, world_size: int, ignored: Sequence[str] = ()) -> None:
        self.world_size = world_size
        self.ignored = tuple(ignored)
        self.findings: list[Finding] = []
        self.suspicions: list[Suspicion] = []
        self.watched: dict[str, str] = {}  # kind by name
        self.unwatched: dict[str, str] = {}  # why, by name
        self.num_steps = 0
        self._num_left = 0  # ranks that tell no more
        self._expected: dict[str, list[list[int]]] = {}
        self._strength: dict[str, bool] = {}  # whether to be equal once says that it should be
        self._open: dict[tuple[str, Any], Telling] = {}
        self._meets: list[frozenset[int]] = []  # groups that gradients were seen equal over
        self._met: set[str] = set()  # whose gradients were seen
        self._joined: dict[str, set[tuple[int, ...]]] = {}  # pairs that a collective made equal
        self._buffers: list[tuple[Case, Watch]] = []  # which differ, and may have been read
        self.drifts: list[Finding] = []  # random streams that part, which need be no fault
        self._drifted: list[tuple[Finding, Case]] = []
        # Ranks by the random streams that they had at first; empty once they were seen to be the same.
        self._streams: list[list[int]] = []

    # --- Telling ------------------------------------------------------------------------------

    def tell(
        self,
        moment: str,
        count: Any,
        ranks: Sequence[int],
        told: dict[str, Told],
        watch: Watch,
        gradients: dict[str, Told],
    ) -> None:
        """Take what a watch found at a moment; `count` says which of its kind."""
        telling = self._open.setdefault((moment, count), Telling())
        telling.told[ranks[0]] = told
        telling.gradients[ranks[0]] = gradients
        telling.watches[ranks[0]] = watch
        if telling.num_ranks() == self.world_size:
            del self._open[moment, count]
            self._judge(moment, count, telling)

    def note_step(self) -> None:
        """Take note of an optimizer step at which nothing differs."""
        self.num_steps += 1
        if self._buffers:
            self._check_buffers()

    def leave(self, watch: Watch) -> None:
        """Take note that a watch's ranks tell no more; with the last one what is open is judged."""
        self._num_left += len(watch.ranks)
        if self._num_left == self.world_size:
            self._close()

    def _close(self) -> None:
        for (moment, count), telling in self._open.items():
            self._judge(moment, count, telling)
        self._open.clear()
        self._check_buffers()
        self._check_drifts()
        for case, _ in self._buffers:
            self.unwatched[case.subject] = "it differs between ranks, and the model did not read it"

    def _judge(self, moment: str, count: Any, telling: Telling) -> None:
        self._check_buffers()
        if moment == _FIRST_SEEN:
            self._meet(telling)
        elif moment == _GRADIENTS:
            self._check_reduced(telling)
        elif moment == _DECLARED:
            self._check_declared(telling)
        elif moment == _TAKEN:
            self._check_taken(telling)
        elif moment == _GRADIENT_TAKEN:
            self._check_gradient_taken(telling)
        else:
            self.num_steps += moment == _STEP
            self._compare(f"{moment} {count + 1}" if moment == _STEP else moment, telling)

    # --- What should agree --------------------------------------------------------------------

    def _meet(self, telling: Telling) -> None:
        names = [name for name in telling.names() if not self._is_ignored(name)]
        alike = {name: telling.groups(name) for name in names}
        facts = {name: telling.facts(name) for name in names}
        for name in names:
            fact = facts[name]
            reason = fact.unwatched or ("" if alike[name] else "it holds no values")
            if reason:
                self.unwatched[name] = reason
                continue
            self.watched[name] = fact.kind
            if fact.shards is None:
                self._expected[name] = [group for group in alike[name] if len(group) > 1]
                self._strength[name] = _says_something(name, facts, alike)
                continue
            meshes = telling.meshes(name)
            replicas = [list(group) for shards in meshes for group in shards if len(group) > 1]
            beside = [] if fact.is_constant else _beside(meshes, alike[name])
            self._expected[name] = [*replicas, *beside]
            self._strength[name] = True
            for group in replicas:
                self._check(name, group, telling, "its first use", is_update=False)
        own = {name for name in telling.names() if not self._expected.get(name)} - {CPU_STREAM}
        if CPU_STREAM in alike:
            self._streams = alike[CPU_STREAM]
        for watch in telling.watches.values():
            watch.leave_out(own)
            watch.has_own_stream = len(self._streams) > 1

    def _check_reduced(self, telling: Telling) -> None:
        """Find parameters that were never equal and whose gradients are joined."""
        for name in telling.names():
            if telling.facts(name).shards is not None or name not in self.watched:
                continue
            gradients = [told[name] for told in telling.gradients.values() if name in told]
            contents = [told.content for told in gradients if told.content is not None]
            self._met.add(name)
            self._note_joined(name, telling)
            for group, _ in groups_of(contents):
                if len(group) > 1:
                    self._meets.append(frozenset(group))
                    self._check_joined(name, group, telling)

    def _note_joined(self, name: str, telling: Telling) -> None:
        """Note which pairs hold it alike because a collective, a broadcast say, made them."""
        for group in self._expected.get(name, ()):
            writers = telling.of(group[0])[name].writers
            for other in group[1:]:
                pair = (group[0], other)
                if reducing_collective(writers, pair) is not None:
                    self._joined.setdefault(name, set()).add(pair)

    def _check_joined(self, name: str, group: list[int], telling: Telling) -> None:
        parts = telling.groups(name, group)
        if len(parts) <= 1:
            return
        when = "the first optimizer step"
        pair = (parts[0][0], parts[1][0])
        writers = telling.gradients_of(pair[0])[name].writers
        self.suspicions.append(Suspicion(self._subject(name), when, group))
        reduction = reducing_collective(writers, pair)
        if reduction is None:
            return
        case = self._case(name, group, telling, when, pair, is_update=False)
        case.reduced_by = reduction
        self._keep_if_fault(case)

    def _check_taken(self, telling: Telling) -> None:
        """Find parameters and buffers that differ when a collective takes them, and that the model has read.

        What differs and is made alike before anybody reads it is no fault: a checkpoint that rank 0 loads
        and gives to all, a shard that its rank's optimizer updates. Both ranks must have read what they hold:
        what the other held before was read while it was alike.
        """
        for name in telling.names():
            for group in self._expected.get(name, ()):
                parts = telling.groups(name, group)
                if len(parts) <= 1 or not self._strength[name]:
                    continue
                case = self._taken_case(name, list(group), telling, (parts[0][0], parts[1][0]))
                if all(any(one.is_read for one in own) for own in case.writers):
                    self._keep_if_fault(case)

    def _check_gradient_taken(self, telling: Telling) -> None:
        """Find gradients that were reduced, and differ when a collective takes them again.

        Backward accumulates in them what is each rank's own, which may be reduced again.
        """
        for name in telling.names():
            parts = [] if self._is_ignored(name) else telling.groups(name)
            for part in parts[1:]:
                pair = (parts[0][0], part[0])
                case = self._taken_case(name, [], telling, pair)
                reduction = reduced_before(case.writers[0], pair)
                if reduction is None:
                    continue
                group = next(ranks for ranks in reduction.groups if set(pair) <= set(ranks))
                case = self._taken_case(name, list(group), telling, pair)
                case.subject = f"gradient of {name}"
                self._keep_if_fault(case)
                break

    def _taken_case(
        self, name: str, group: list[int], telling: Telling, pair: tuple[int, int]
    ) -> Case:
        site = site_of(telling.watch(pair[0]).place)
        when = f"the collective of {site}, which hides it"
        self.suspicions.append(Suspicion(self._subject(name), when, group))
        case = self._case(name, group, telling, when, pair)
        case.writers = (written_by(case.writers[0]), written_by(case.writers[1]))
        return case

    def _keep_if_fault(self, case: Case) -> None:
        finding = verdict(case)
        if finding is not None:
            self._keep(finding)

    def _is_ignored(self, name: str) -> bool:
        return any(fnmatch.fnmatch(name, pattern) for pattern in self.ignored)

    # --- Whether it does ----------------------------------------------------------------------

    def _compare(self, when: str, telling: Telling) -> None:
        for name in telling.names():
            owner = telling.facts(name).parameter or name
            for group in self._expected.get(owner, ()):
                self._check(name, group, telling, when, is_update=True)
        self._check_streams_that_differed(when, telling)

    def _check_streams_that_differed(self, when: str, telling: Telling) -> None:
        """Find ranks that had random streams of their own, and draw the same now."""
        of_rank = {rank: i for i, ranks in enumerate(self._streams) for rank in ranks}
        for group in telling.groups(CPU_STREAM) if len(self._streams) > 1 else ():
            others = [rank for rank in group if of_rank[rank] != of_rank[group[0]]]
            if not others:
                continue
            self._streams = []
            pair = (group[0], others[0])
            case = self._case(CPU_STREAM, group, telling, when, pair)
            self.suspicions.append(Suspicion(case.subject, when, group))
            drift = joined_stream_finding(case)
            if drift is not None:
                self.drifts.append(drift)
            return

    def _check(
        self, name: str, group: list[int], telling: Telling, when: str, *, is_update: bool
    ) -> None:
        parts = telling.groups(name, group)
        owner = telling.facts(name).parameter or name
        if len(parts) <= 1 or not self._strength[owner]:
            return
        self._expected[owner] = [other for other in self._expected[owner] if other is not group]
        pair = (parts[0][0], parts[1][0])
        case = self._case(name, group, telling, when, pair, is_update=is_update)
        self.suspicions.append(Suspicion(case.subject, when, group))
        watch = telling.watch(pair[0])
        if self.watched.get(name) == RANDOM_STREAM:
            drift = stream_finding(case, telling.streams(name, pair))
            if drift is not None:
                self._drifted.append((drift, case))
        elif self.watched.get(name) == "buffer":
            self._buffers.append((case, watch))
        else:
            self._decide(case, watch)

    def _decide(self, case: Case, watch: Watch) -> None:
        finding = _unnamed(case, watch) if watch.log is None else verdict(case)
        if finding is not None:
            self._keep(finding)

    def _check_buffers(self) -> None:
        """Find buffers that differ and that the model has read: what it only writes may differ."""
        waiting = []
        for case, watch in self._buffers:
            if watch.log is None or any(one.is_read for own in case.writers for one in own):
                self._decide(case, watch)
            else:
                waiting.append((case, watch))
        self._buffers = waiting

    def _check_drifts(self) -> None:
        """Find random streams that part and that ranks take for one."""
        for drift, case in self._drifted:
            fault = drawn_in_parts(drift, case.pair, case.logs)
            if fault is not None:
                self._keep(fault)
            elif not any(
                (one.site, one.operation) == (drift.site, drift.operation) for one in self.findings
            ):
                self.drifts.append(drift)
        self._drifted.clear()

    def _case(
        self,
        name: str,
        group: list[int],
        telling: Telling,
        when: str,
        pair: tuple[int, int],
        *,
        is_update: bool = True,
    ) -> Case:
        told = [own[name] for own in telling.told.values() if name in own]
        return Case(
            subject=self._subject(name),
            ranks=group,
            contents=[
                tuple(share for share in one.content or () if set(share.ranks) & set(group))
                for one in told
            ],
            when=when,
            pair=pair,
            writers=(
                telling.of(pair[0])[name].writers,
                telling.of(pair[1])[name].writers,
            ),
            versions=(telling.of(pair[0])[name].version, telling.of(pair[1])[name].version),
            shape=told[0].shape,
            logs=telling.logs(pair),
            gradients_meet=2 * sum(set(pair) <= meets for meets in self._meets) > len(self._met),
            was_joined=tuple(pair) in self._joined.get(name, ()),
            is_update=is_update,
        )

    def _subject(self, name: str) -> str:
        kind = self.watched.get(name, "optimizer state")
        return f"{kind} {name}"

    def _keep(self, finding: Finding) -> None:
        for index, known in enumerate(self.findings):
            if (known.site, known.operation) == (finding.site, finding.operation):
                if finding.subject != known.subject:
                    known.others.append(finding.subject)
                self.findings[index] = known
                return
        if len(self.findings) < _MOST_FINDINGS:
            self.findings.append(finding)

    def _check_declared(self, telling: Telling) -> None:
        for name in telling.names():
            kind = telling.facts(name).kind
            self.watched.setdefault(name, kind)
            groups = {
                tuple(group)
                for watch in telling.watches.values()
                for group in watch.declared.get(name, ())
            }
            for group in sorted(groups):
                parts = telling.groups(name, group)
                if len(parts) > 1:
                    pair = (parts[0][0], parts[1][0])
                    case = self._case(name, list(group), telling, "its declaration", pair)
                    self.suspicions.append(Suspicion(case.subject, case.when, case.ranks))
                    watch = telling.watch(pair[0])
                    place = telling.facts(name).declared_at
                    if place is not None and kind == RANDOM_STREAM and watch.log is not None:
                        streams = telling.streams(name, pair)
                        self._keep(declared_stream_finding(case, streams, site_of(place)))
                    else:
                        self._decide(case, watch)


def _unnamed(case: Case, watch: Watch) -> Finding:
    return Finding(
        case.subject,
        case.ranks,
        "not looked for: operators were not recorded",
        site_of(watch.place),
        "was equal on these ranks and is not any more",
        held_by_ranks(case.contents),
        case.when,
    )


def _says_something(name: str, facts: dict[str, Facts], alike: dict[str, list[list[int]]]) -> bool:
    """Whether ranks that hold it alike at first are to hold it alike for good.

    Numbers that were drawn say so. Zeros and ones do not: shards begin with them too. Then the rest of
    the module says it, or where that is as constant, that it normalizes and the model is replicated.
    """
    fact = facts[name]
    if not fact.is_constant or fact.kind == "buffer":
        return True
    groups = {tuple(group) for group in alike[name]}

    def is_alike(other: str) -> bool:
        return (
            not facts[other].is_constant
            and facts[other].kind == "parameter"
            and groups == {tuple(group) for group in alike[other]}
        )

    in_module = [
        other
        for other in facts
        if facts[other].module == fact.module and facts[other].shape[:1] == fact.shape[:1]
    ]
    if any(map(is_alike, in_module)):
        return True
    return (
        fact.is_norm
        and fact.kind == "parameter"
        and not any(
            not facts[other].is_constant for other in facts if facts[other].module == fact.module
        )
    )


def _beside(meshes: Sequence[Shards], alike: list[list[int]]) -> list[list[int]]:
    """Ranks of several meshes that hold the same shard, alike: replicas of which no placement speaks."""
    found = []
    for shards in zip(*meshes, strict=False) if len(meshes) > 1 else ():
        holders = [set(ranks) for ranks in shards]
        for group in alike:
            inside = [rank for rank in group if any(rank in held for held in holders)]
            if sum(bool(held & set(inside)) for held in holders) > 1:
                found.append(inside)
    return found
