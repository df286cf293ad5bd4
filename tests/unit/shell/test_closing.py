from __future__ import annotations

import asyncio
import io
import logging
import signal
import sys
import threading

import pytest

from minicdn.closing import Closing, Repeats, Stage
from minicdn.console import Console, set_up_logging, to_line

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")
INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", None)
QUIT = getattr(signal, "SIGQUIT", None)


@pytest.mark.parametrize(
    ("signals", "stage"),
    [
        ([], Stage.RUNNING), ([INT], Stage.WARM), ([TERM], Stage.WARM), ([HUP], Stage.WARM), ([QUIT], Stage.COLD),
        ([INT, INT], Stage.COLD), ([INT, TERM], Stage.COLD), ([TERM, TERM], Stage.COLD), ([HUP, HUP], Stage.WARM),
        ([HUP, INT], Stage.COLD), ([INT, HUP], Stage.WARM), ([TERM, QUIT], Stage.COLD), ([QUIT, HUP], Stage.COLD),
        ([QUIT, INT], Stage.COLD),
    ],
)  # fmt: skip
def test_what_the_signals_come_to(signals: list[signal.Signals], stage: Stage) -> None:
    closing = Closing()
    for number in signals:
        closing.take(number)
    assert closing.stage == stage


def test_a_signal_that_the_parent_of_the_one_file_passes_on_is_no_second_one() -> None:
    closing = Closing(Repeats(60.0))
    for _ in range(2):
        closing.take(INT)
    assert closing.stage is Stage.WARM
    closing.take(TERM)
    assert closing.stage is Stage.COLD, "another signal is one of its own"
    late = Closing(Repeats(0.01))
    late.take(INT)
    threading.Event().wait(0.02)
    late.take(INT)
    assert late.stage is Stage.COLD, "somebody meant it"


def test_a_signal_that_came_before_the_loop_is_heard() -> None:
    async def wait() -> None:
        closing.attach(asyncio.get_running_loop())
        await asyncio.wait_for(closing.wait_for(Stage.WARM), 5)

    closing = Closing()
    closing.take(INT)
    asyncio.run(wait())


def test_both_stages_can_be_waited_for_at_once() -> None:
    async def wait() -> None:
        closing.attach(asyncio.get_running_loop())
        warm = asyncio.ensure_future(closing.wait_for(Stage.WARM))
        cold = asyncio.ensure_future(closing.wait_for(Stage.COLD))
        closing.take(TERM)
        await asyncio.wait_for(warm, 5)
        assert not cold.done()
        closing.take(TERM)
        await asyncio.wait_for(cold, 5)

    closing = Closing()
    asyncio.run(wait())


def test_a_signal_after_the_loop_is_no_error() -> None:
    async def attach() -> None:
        closing.attach(asyncio.get_running_loop())

    closing = Closing()
    asyncio.run(attach())
    closing.take(INT)
    assert closing.stage == Stage.WARM


class _ClosedPipe(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_terminal_that_went_away_stops_nothing() -> None:
    Console(_ClosedPipe()).say("hello")
    closed = io.StringIO()
    closed.close()
    Console(closed).say("hello")


def test_progress_is_for_terminals_only() -> None:
    plain = io.StringIO()
    Console(plain).progress("1 left")
    assert plain.getvalue() == ""
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    console = Console(terminal)
    console.progress("2 left")
    console.progress("1 left")
    console.say("done")
    assert "\n" not in terminal.getvalue()[:-1]
    assert terminal.getvalue().endswith("\x1b[Kdone\n")


@pytest.fixture
def logged():
    root = logging.getLogger()
    kept = root.handlers[:], root.level, logging.raiseExceptions
    stream = io.StringIO()
    quiet = [(logger, logger.filters[:]) for logger in (logging.getLogger("uvicorn.error"), logging.getLogger("asyncio"))]
    for logger, _ in quiet:
        logger.filters[:] = []  # the nodes of another test's stage may be running, with their errors caught there
    yield stream
    for logger, filters in quiet:
        logger.filters[:] = filters
    root.handlers[:], root.level, logging.raiseExceptions = kept


def _log_an_error(name: str, error: BaseException) -> None:
    try:
        raise error
    except BaseException:
        logging.getLogger(name).error("Exception in ASGI application\n", exc_info=True)


def test_an_unexpected_error_is_one_line(logged: io.StringIO) -> None:
    set_up_logging(logged)
    _log_an_error("uvicorn.error", ValueError("two\nlines"))
    assert logged.getvalue().endswith("minicdn: Exception in ASGI application: ValueError: two lines\n")
    assert logged.getvalue().count("\n") == 1


def test_the_traceback_is_for_those_who_asked(logged: io.StringIO) -> None:
    set_up_logging(logged, debug=True)
    _log_an_error("uvicorn.error", ValueError("x"))
    assert "Traceback" in logged.getvalue()


def test_what_is_not_worth_a_line(logged: io.StringIO) -> None:
    set_up_logging(logged)
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    logging.getLogger("httpx").info("HTTP Request: GET …")
    _log_an_error("uvicorn.error", asyncio.CancelledError())
    assert logged.getvalue() == ""
    logging.getLogger("minicdn.node").info("joined")
    assert logged.getvalue().endswith("minicdn: joined\n")


def test_a_line_has_its_bound() -> None:
    assert len(to_line("x " * 100_000)) == 1000
