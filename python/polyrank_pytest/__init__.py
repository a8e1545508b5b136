"""The pytest plugin that comes with polyrank.

`@pytest.mark.ranks(8)` runs a test in lockstep; `pytest --polyrank-install` runs tests that were
written for PyTorch's simulator on polyrank.

A package of its own, because pytest imports its plugins in every run: this one imports torch only
for a test that is marked, and for that option.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
        "markers", f"{_MARKER}(world_size): run the test on that many ranks in lockstep"
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
    marker = request.node.get_closest_marker(_MARKER)
    if marker is None:
        yield
        return
    world_size = _world_size(marker)
    from polyrank import lockstep

    with lockstep(world_size=world_size):
        yield


def _world_size(marker: pytest.Mark) -> int:
    given = [*marker.args, *marker.kwargs.values()]
    is_call = len(given) == 1 and set(marker.kwargs) <= {"world_size"}
    if not is_call or type(given[0]) is not int or given[0] < 1:
        arguments = [repr(value) for value in marker.args]
        arguments += [f"{name}={value!r}" for name, value in marker.kwargs.items()]
        pytest.fail(
            f"@pytest.mark.{_MARKER}({', '.join(arguments)}): it takes one world size, an int of 1 "
            f"or more, as in @pytest.mark.{_MARKER}(8)",
            pytrace=False,
        )
    return given[0]
