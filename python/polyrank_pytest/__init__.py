"""The pytest plugin that comes with polyrank.

`@pytest.mark.ranks(8)` runs a test in lockstep, `@pytest.mark.ranks(8, world="threads")` in another
world; `pytest --polyrank-install` runs tests that were written for PyTorch's simulator on polyrank.

A package of its own, because pytest imports its plugins in every run: this one imports torch only
for a test that is marked, and for that option.
"""

from __future__ import annotations

import inspect
import sys
import unittest
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from polyrank.recording.trace import Trace
    from polyrank.world import World

_MARKER = "ranks"
_INSTALL = "--polyrank-install"
_TEST_CLASSES = "--polyrank-ranks"
_OUTCOMES: dict[str, Any] = {
    function.Exception.__name__: function.Exception
    for function in (pytest.skip, pytest.exit, pytest.xfail)
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option that puts polyrank in PyTorch's place."""
    parser.getgroup("polyrank").addoption(
        _INSTALL,
        action="store_true",
        help="call polyrank.install() first: torch.distributed._local_tensor means polyrank then",
    )
    parser.getgroup("polyrank").addoption(
        _TEST_CLASSES,
        choices=("threads", "processes"),
        help="run the ranks of PyTorch's MultiProcessTestCase classes, DTensorTestBase among them, in "
        "this world, in the place of processes that each import torch",
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
    if (world := config.getoption(_TEST_CLASSES)) is not None:
        from polyrank.install.process_tests import run_process_tests_in

        config.add_cleanup(run_process_tests_in(world))


@pytest.fixture(autouse=True)
def _polyrank_world(request: pytest.FixtureRequest) -> Iterator[None]:
    # As a fixture for every function it comes before the test's other fixtures of that scope, so
    # that they run on all ranks too, and after those that tests of other world sizes share.
    asked = _ranks_of(request.node)
    if asked is None:
        yield
        return
    is_unittest = request.cls is not None and issubclass(request.cls, unittest.TestCase)
    if is_unittest and not asked.world.has_blocks:
        asked.refuse("unittest calls the methods of a TestCase itself, once; take a plain class")
    with asked.world.surrounding(asked.world_size, **asked.options):
        yield


@pytest.fixture
def world_size(request: pytest.FixtureRequest) -> int:
    """How many ranks the test's marker says."""
    asked = _ranks_of(request.node)
    if asked is None:
        pytest.fail(f"world_size is of tests with @pytest.mark.{_MARKER}", pytrace=False)
    return asked.world_size


@pytest.fixture
def collectives(request: pytest.FixtureRequest) -> Iterator[Trace]:
    """The collectives that the test launches, on all ranks that are in this process."""
    from polyrank import trace

    with trace() as recorded:
        yield recorded


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Call a marked test on its ranks. Fixtures are there already, once for all ranks."""
    asked = _ranks_of(pyfuncitem)
    if asked is None:
        return None
    if inspect.iscoroutinefunction(pyfuncitem.obj) or inspect.isasyncgenfunction(pyfuncitem.obj):
        asked.refuse("a test on ranks is no async function; call asyncio.run() in a plain one")
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    _call(asked, lambda: pyfuncitem.obj(**arguments), pyfuncitem)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show each kind of failure of a test on ranks once."""
    if call.excinfo is not None and "polyrank.tensor.unheard_errors" in sys.modules:
        from polyrank.tensor.unheard_errors import hear

        hear(call.excinfo.value)  # pytest tells of it
    report = yield
    failed = item.stash.get(_failed_ranks, None)
    if failed is not None and report.when == "call" and report.failed:
        from polyrank_pytest.failures import folded, shown

        asked, errors = failed
        report.longrepr = shown(item, folded(errors), asked.world_size, asked.world.name)
    return report


@dataclass(frozen=True)
class _Ranks:
    """What a marker asks for."""

    marker: pytest.Mark
    world: World
    world_size: int
    options: dict[str, Any]

    def refuse(self, why: str) -> NoReturn:
        """Fail the test."""
        _refuse(self.marker, why)


class _OutcomeError(Exception):
    """Carries what pytest raises that is no Exception, such as a skip, to where the ranks were started.

    By its name and text: its class can't be pickled, and a rank may be a process.
    """

    def outcome(self) -> BaseException:
        """It again."""
        name, text = self.args
        outcome: BaseException = _OUTCOMES[name](text)
        return outcome


# What ranks raised, the cause first.
_failed_ranks = pytest.StashKey[tuple[_Ranks, tuple[Exception, ...]]]()


def _call(asked: _Ranks, test: Callable[[], Any], item: pytest.Item) -> None:
    from polyrank import RanksFailedError

    def on_rank() -> None:
        try:
            test()
        except tuple(_OUTCOMES.values()) as outcome:
            raise _OutcomeError(type(outcome).__name__, str(outcome)) from None
        except pytest.fail.Exception as failure:  # no Exception, which alone come from ranks
            raise AssertionError(str(failure)).with_traceback(failure.__traceback__) from None

    try:
        asked.world.call(on_rank, asked.world_size, **asked.options)
    except _OutcomeError as carried:
        raise carried.outcome() from None
    except RanksFailedError as failed:
        for error in failed.exceptions:
            if isinstance(error, _OutcomeError):
                raise error.outcome() from None
        item.stash[_failed_ranks] = asked, failed.exceptions
        # As it is, so that a debugger stands where the first rank failed.
        raise failed.exceptions[0] from failed.exceptions[0].__cause__


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
            f'@pytest.mark.{_MARKER}(8), and a world by its name: world="threads"',
        )
    if unknown := sorted(set(given) - world.options):
        options = f"its options are {', '.join(sorted(world.options))}" if world.options else ""
        _refuse(
            marker,
            f"the world {world.name} has no {', '.join(unknown)}; {options or 'it has no options'}",
        )
    return _Ranks(marker, world, sizes[0], given)


def _refuse(marker: pytest.Mark, why: str) -> NoReturn:
    arguments = [repr(value) for value in marker.args]
    arguments += [f"{name}={value!r}" for name, value in marker.kwargs.items()]
    pytest.fail(f"@pytest.mark.{_MARKER}({', '.join(arguments)}): {why}", pytrace=False)
