"""What `polyrank run` refuses, and which world it takes."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import typer

from polyrank.cli.option_kinds import not_one_of
from polyrank.world import World, default_world, find_world, worlds

__all__ = [
    "SCHEDULES",
    "check_order",
    "check_rank",
    "check_world",
    "chosen_world",
    "known_schedule",
    "known_world",
    "refuse_what_it_does_not_take",
    "without_unused_settings",
    "writable_folder",
]

# Which rank runs next, of those that can.
SCHEDULES = ["in_turn", "random"]


def known_world(name: str) -> str:
    """The name of a world, as typed."""
    names = [world.name for world in worlds()]
    if name not in names:
        close = difflib.get_close_matches(name, names, 1)
        raise typer.BadParameter(
            f"there is no world {name!r}"
            + (f"; did you mean {close[0]}?" if close else f"; there are {', '.join(names)}")
        )
    return name


def known_schedule(name: str) -> str:
    """The name of an order of ranks, as typed: a choice of click's own would be listed as "in-turn"."""
    if name.replace("-", "_") not in SCHEDULES:
        raise typer.BadParameter(not_one_of(name, SCHEDULES))
    return name.replace("-", "_")


def chosen_world(
    name: str | None, world_size: int, given: Mapping[str, object]
) -> tuple[World, str | None]:
    """The world that is named, or that suits, and why it is another one than usual, if so.

    Each option by its field; those that are None were not given.
    """
    if name is not None:
        return find_world(name), None
    options = frozenset(field for field, value in given.items() if value is not None)
    return default_world(world_size, options)


def check_world(world: World, world_size: int, nnodes: int) -> None:
    """Refuse more ranks or nodes than it has room for."""
    if nnodes > 1 and not world.spans_nodes:
        raise typer.BadParameter(
            f"--world {world.name} starts processes on this machine only; start more nodes with "
            "torchrun",
            param_hint="--nnodes",
        )
    if (reason := world.why_no_room(world_size)) is not None:
        raise typer.BadParameter(f"{reason}; another world has room", param_hint="--ranks")


def refuse_what_it_does_not_take(chosen: World, given: Mapping[str, object]) -> None:
    """Refuse options of other worlds. Each value by its field; those that are None were not given."""
    for name, value in given.items():
        if value is not None and name not in chosen.takes:
            takers = " or ".join(world.name for world in worlds() if name in world.takes)
            raise typer.BadParameter(
                f"is for --world {takers}; --world {chosen.name} is {chosen.summary}",
                param_hint=f"--{name.replace('_', '-')}",
            )


def without_unused_settings(
    given: Mapping[str, Any], from_settings: AbstractSet[str], chosen: World
) -> dict[str, Any]:
    """The options, less those of other worlds: what a file or the environment says is for all runs."""
    kept = {
        name: None if name in from_settings and name not in chosen.takes else value
        for name, value in given.items()
    }
    is_random = kept["schedule"] == "random" or kept["schedules"] is not None
    if "seed" in from_settings and not is_random:
        kept["seed"] = None
    return kept


def check_rank(given: Mapping[str, Any], world_size: int) -> None:
    """Refuse ranks that the world does not have."""
    for name in ("rank", "debug_rank"):
        if given[name] is not None and given[name] >= world_size:
            raise typer.BadParameter(
                f"a world of {world_size} ranks has no rank {given[name]}",
                param_hint=f"--{name.replace('_', '-')}",
            )


def check_order(given: Mapping[str, Any]) -> bool:
    """Refuse options of the order of ranks that exclude each other; whether it is random."""
    if given["schedule"] == "in_turn" and given["schedules"] is not None:
        raise typer.BadParameter("are random ones", param_hint="--schedules")
    is_random = given["schedule"] == "random" or given["schedules"] is not None
    if given["seed"] is not None and not is_random:
        raise typer.BadParameter(
            "nothing is drawn unless you say --schedule random or --schedules K",
            param_hint="--seed",
        )
    if given["hash_seeds"] is not None and given["schedules"] is not None:
        raise typer.BadParameter(
            "is for one run; try orders with --schedule random --seed S", param_hint="--hash-seeds"
        )
    return is_random


def writable_folder(folder: Path) -> Path:
    """The absolute path of a log folder, which is made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(
            f"{str(folder)!r} can't be made: {error.strerror or error}", param_hint="--log-dir"
        ) from error
    return folder.resolve()
