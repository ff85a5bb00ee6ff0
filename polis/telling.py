"""Telling the stream that a changing command begins, and how it ended."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from polis import events
from polis.errors import ExitCode, Interrupted, PolisError, interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from polis.phase import Phase


@contextlib.contextmanager
def told(stream: events.Stream, command: str, target: Phase, reached: Callable[[], Phase | None]) -> Iterator[None]:
    """Tell that a command began, and at its end its outcome, duration, error, and which phase was `reached`."""
    begun = time.monotonic()

    def end(outcome: str, code: int, error: dict[str, Any] | None = None) -> None:
        stream.emit(
            events.CommandEnded(
                command=command,
                outcome=outcome,
                exit_code=code,
                duration_s=round(time.monotonic() - begun, 3),
                phase=reached(),
                error=error,
            )
        )

    stream.emit(events.CommandStarted(command=command, target=target))
    try:
        yield
    except PolisError as error:
        outcome = "interrupted" if isinstance(error, Interrupted) else "failed"
        end(outcome, error.exit_code, events.describe(error))
        raise
    except KeyboardInterrupt as interruption:
        end("interrupted", interrupted(interruption, "interrupted").exit_code)
        raise
    except Exception:
        end("failed", ExitCode.BUG)
        raise
    end("done", ExitCode.OK)
