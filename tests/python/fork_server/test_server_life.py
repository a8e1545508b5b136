"""When servers start, end, and are left alone."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from fork_server.served_runs import Place, end, is_gone, wait_until

WAITS = (
    "import os, sys, time\nprint('began', flush=True)\nname = sys.argv[1]\n"
    "while not os.path.exists(name): time.sleep(0.02)\n"
    "print('went on', flush=True)\nsys.exit(5)\n"
)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.serve("--stop")


def test_a_server_that_is_killed_ends_no_run_and_is_not_asked_again(place: Place) -> None:
    server = place.start_server()
    go_on = place.folder / "go on"
    one = place.start(WAITS, "--verbose", arguments=[str(go_on)])
    assert one.stdout is not None
    assert "began" in one.stdout.readline()
    server.kill()
    wait_until(lambda: is_gone(server.pid))
    go_on.touch()
    out, err = one.communicate(timeout=60)
    assert (one.returncode, out.count("went on")) == (5, 2), err
    assert "is used" in err
    (stale,) = place.sockets
    assert stale.stem == str(server.pid)
    after = place.run("print('ran', flush=True)\n", "--verbose")
    assert (after.returncode, after.stdout.count("ran\n")) == (0, 2), after.stderr
    assert "is used" not in after.stderr
    assert place.sockets == []


def test_a_server_stays_while_a_run_goes_on_and_ends_when_idle(place: Place) -> None:
    done = place.serve("--idle", "4")  # on a busy machine a run takes seconds to reach it
    assert done.returncode == 0, done.stderr
    (path,) = place.sockets
    pid = int(path.stem)
    go_on = place.folder / "go on"
    one = place.start(WAITS, "--verbose", arguments=[str(go_on)])
    assert one.stdout is not None
    assert "began" in one.stdout.readline()
    with pytest.raises(AssertionError):
        wait_until(lambda: is_gone(pid), seconds=6)
    go_on.touch()
    assert "is used" in one.communicate(timeout=60)[1]
    wait_until(lambda: is_gone(pid))
    assert place.sockets == []
    assert place.serve("--status").returncode == 1


def test_a_stopped_server_takes_no_more_and_lets_runs_end(place: Place) -> None:
    server = place.start_server()
    go_on = place.folder / "go on"
    one = place.start(WAITS, arguments=[str(go_on)])
    assert one.stdout is not None
    assert "began" in one.stdout.readline()
    assert place.serve("--stop").stdout == "ended: 1\n"
    assert place.sockets == []
    go_on.touch()
    assert (one.communicate(timeout=60)[0].count("went on"), one.returncode) == (2, 5)
    wait_until(lambda: is_gone(server.pid))


def test_modules_that_are_preloaded_are_for_runs_that_say_so(place: Place) -> None:
    (place.folder / "packages").mkdir()
    place.variables = {"PYTHONPATH": str(place.folder / "packages")}
    helper = place.write("value = 1\n", "packages/helper.py")
    server = place.start_server("--preload", "helper")
    prints = "import helper\nprint('value', helper.value, flush=True)\n"
    done = place.run(prints, "--verbose")
    assert "the server has imported helper: say --preload helper" in done.stderr
    assert done.stdout.count("value 1") == 2
    done = place.run_served(prints, "--preload", "helper")
    assert done.stdout.count("value 1") == 2
    # Another module of this name beside the script.
    beside = place.write("value = 2\n", "helper.py")
    done = place.run(prints, "--verbose", "--preload", "helper")
    assert "helper is another module than the server's" in done.stderr
    assert done.stdout.count("value 2") == 2
    beside.unlink()
    # Another version of it: the server is of no use any more.
    helper.write_text("value = 33\n")
    done = place.run(prints, "--verbose", "--preload", "helper")
    assert f"{helper} has changed since it started" in done.stderr
    assert done.stdout.count("value 33") == 2
    wait_until(lambda: is_gone(server.pid))
    assert place.sockets == []


def test_a_server_that_can_not_import_says_so(place: Place) -> None:
    done = place.serve("--preload", "no_such_module")
    assert done.returncode == 2
    assert done.stderr == "no server: No module named 'no_such_module'\n"
    assert place.sockets == []


def test_a_folder_that_others_may_enter_is_not_used(place: Place) -> None:
    folder = place.folder / "runtime" / "polyrank"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    done = place.serve()
    assert done.returncode == 2
    assert "is no folder that only this user may enter" in done.stderr
    done = place.run("print('ran', flush=True)\n", "--verbose")
    assert (done.returncode, done.stdout.count("ran\n")) == (0, 2)
    assert "is no folder that only this user may enter" in done.stderr


def test_a_server_that_does_not_answer_is_left_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = place.folder / "runtime" / "polyrank"
    folder.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(folder)  # whose path is too long
        listener.bind("1.socket")
        listener.listen()
        done = place.run("print('ran', flush=True)\n", "--verbose")
    assert (done.returncode, done.stdout.count("ran\n")) == (0, 2)
    assert "the server of process 1 is not used: timed out" in done.stderr


def test_signals_end_a_server(place: Place) -> None:
    server = place.start_server()
    server.send_signal(signal.SIGTERM)
    wait_until(lambda: is_gone(server.pid))
    assert place.sockets == []
    end(server)
