"""What every check tells: as text, as a document for other programs, and as a page."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from polyrank.output.html_page import page_text
from polyrank.worlds.run_options import RunOptions

__all__ = ["Report", "identity_of", "rows"]


class Report(ABC):
    """What a check found."""

    title: str  # of the page

    @property
    @abstractmethod
    def exit_code(self) -> int:
        """Of the command: exit_codes.DIVERGENCE, or as the program ended."""

    @abstractmethod
    def text(self) -> str:
        """All of it, as lines."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""

    def pictures(self) -> Sequence[Any]:
        """What the page shows above the text: plotly's figures."""
        return ()

    def page(self) -> str:
        """An HTML file that opens without a network."""
        return page_text(self.title, self.pictures(), self.text())


def identity_of(options: RunOptions) -> dict[str, Any]:
    """What a document says of the program that was run."""
    return {
        "world": options.world,
        "world_size": options.world_size,
        "script": options.script,
        "arguments": list(options.arguments),
    }


def rows(entries: Sequence[tuple[str, str]]) -> list[str]:
    """Lines of a name and a value each, the values below each other."""
    width = max((len(name) for name, _ in entries), default=0)
    return [f"  {name:<{width}}  {value}" for name, value in entries]
