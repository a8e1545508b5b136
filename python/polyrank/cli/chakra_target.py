"""`polyrank forecast --chakra FOLDER`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

__all__ = ["ChakraTarget", "chakra_option"]


@dataclass(frozen=True)
class ChakraTarget:
    """Where traces go."""

    folder: Path
    name: str  # of the files, before the rank
    world_size: int

    def write(self, recordings: Sequence[Mapping[str, Any]]) -> None:
        """Write a file for each rank.

        Raises:
            UsageError: a rank launched what Chakra's schema can't say; nothing is written.
        """
        from polyrank.forecast.chakra import chakra_traces, write_chakra

        write_chakra(self.folder, self.name, chakra_traces(recordings, self.world_size))


def chakra_option(folder: Path, name: str, ranks: Sequence[int], world_size: int) -> ChakraTarget:
    """The folder, if it can hold traces of these ranks; of none if they are not known yet."""
    from polyrank.errors import UsageError
    from polyrank.forecast.chakra import check_chakra_folder
    from polyrank.forecast.chakra_schema import check_chakra_can_be_written

    try:
        check_chakra_can_be_written()
        checked = check_chakra_folder(folder, name, ranks)
    except UsageError as error:
        raise typer.BadParameter(str(error), param_hint="--chakra") from error
    except OSError as error:
        raise typer.BadParameter(
            f"{str(folder)!r} can't be written: {error.strerror or error}", param_hint="--chakra"
        ) from error
    return ChakraTarget(checked, name, world_size)
