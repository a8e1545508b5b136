"""The pytest plugin that comes with polyrank.

`@pytest.mark.ranks(8)` runs a test in lockstep, `@pytest.mark.ranks(8, world="threads")` in another
world; `pytest --polyrank-install` runs tests that were written for PyTorch's simulator on polyrank.

A package of its own, because pytest imports its plugins in every run: this one imports torch only
for a test that is marked, and for that option.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from polyrank.world import World

_MARKER = "ranks"
_INSTALL = "--polyrank-install"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option that puts polyrank in PyTorch's place."""
    parser.getgroup("polyrank").addoption(
        _INSTALL,
        action="store_true",
        help="call polyrank.install() first: torch.distributed._local_tensor means polyrank then",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, so that --strict-markers takes it."""
    config.addinivalue_line(
        "markers",
        f'{_MARKER}(world_size, world="lockstep", **options): run the test on that many ranks',
    )
    if config.getoption(_INSTALL):
        import polyrank

        # Before the test files are imported, which take the names.
        polyrank.install()
        config.add_cleanup(polyrank.uninstall)


@pytest.fixture(autouse=True)
def _polyrank_world(request: pytest.FixtureRequest) -> Iterator[None]:
    # As a fixture for every function it comes before the test's other fixtures of that scope, so
    # that they run on all ranks too, and after those that tests of other world sizes share.
    asked = _ranks_of(request.node)
    if asked is None:
        yield
        return
    with asked.world.surrounding(asked.world_size, **asked.options):
        yield


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Call a marked test on its ranks. Fixtures are there already, once for all ranks."""
    asked = _ranks_of(pyfuncitem)
    if asked is None:
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    _call(asked, lambda: pyfuncitem.obj(**arguments))
    return True


@dataclass(frozen=True)
class _Ranks:
    """What a marker asks for."""

    world: World
    world_size: int
    options: dict[str, Any]


def _call(asked: _Ranks, test: Callable[[], Any]) -> None:
    from polyrank import RanksFailedError

    skips: list[BaseException] = []  # and what else pytest raises that is no Exception

    def on_rank() -> None:
        try:
            test()
        except Exception:
            raise
        except BaseException as skip:
            skips.append(skip)
            raise

    try:
        asked.world.call(on_rank, asked.world_size, **asked.options)
    except RanksFailedError:
        if skips:
            raise skips[0] from None
        raise


def _ranks_of(node: pytest.Item) -> _Ranks | None:
    marker = node.get_closest_marker(_MARKER)
    if marker is None:
        return None
    from polyrank.errors import UsageError
    from polyrank.world import find_world

    given = dict(marker.kwargs)
    try:
        world = find_world(given.pop("world", "lockstep"))
    except UsageError as error:
        _refuse(marker, str(error))
    sizes = [*marker.args, *([given.pop("world_size")] if "world_size" in given else [])]
    if len(sizes) != 1 or type(sizes[0]) is not int or sizes[0] < 1:
        _refuse(
            marker,
            "it takes one world size, an int of 1 or more, as in "
            f"@pytest.mark.{_MARKER}(8), and the name of a world",
        )
    if unknown := sorted(set(given) - world.options):
        options = f"its options are {', '.join(sorted(world.options))}" if world.options else ""
        _refuse(
            marker,
            f"the world {world.name} has no {', '.join(unknown)}; {options or 'it has no options'}",
        )
    return _Ranks(world, sizes[0], given)


def _refuse(marker: pytest.Mark, why: str) -> NoReturn:
    arguments = [repr(value) for value in marker.args]
    arguments += [f"{name}={value!r}" for name, value in marker.kwargs.items()]
    pytest.fail(f"@pytest.mark.{_MARKER}({', '.join(arguments)}): {why}", pytrace=False)
