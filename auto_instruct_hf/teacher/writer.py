"""Writes to the journal from the event loop: many replies per commit, none used before its commit.

Unanswered requests are written only after a request has been answered: until then the endpoint may be at fault.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import TeacherError
from .exchange import NO_ANSWER, NOT_A_COMPLETION
from .journal import Entry, Journal, Record
from .sender import Sender

# After this many unanswered requests, and none answered, the endpoint is at fault.
_MAX_UNANSWERED = 8


@dataclass
class Writer:
    """Groups records into commits: those that arrive during a commit share the next one.

    `stopped_by` makes the error that stops a run, from a reason.
    """

    journal: Journal
    sender: Sender
    stopped_by: Callable[[str], TeacherError]
    _unanswered: list[Record] = field(default_factory=list, init=False)
    _waiting: list[tuple[Record, asyncio.Future[Entry]]] = field(default_factory=list, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)

    def reset(self) -> None:
        """Forget unanswered requests, after an aborted call."""
        self._unanswered.clear()

    def check(self) -> None:
        """Raise TeacherError if there were requests and none was ever answered."""
        if self._unanswered:
            reason = self._unanswered[-1].entry.error
            raise self.stopped_by(f"refuses whatever it is asked: {reason}")

    async def keep(self, record: Record) -> Entry:
        """Commit a reply; return the entry that stands for its request, which is the first one recorded."""
        error = record.entry.error
        if not self.sender.has_answered and (error.startswith(NO_ANSWER) or error == NOT_A_COMPLETION):
            self._unanswered.append(record)
            if len(self._unanswered) >= _MAX_UNANSWERED:
                self.check()
            return record.entry
        held, self._unanswered = self._unanswered, []
        for other in held if self.sender.has_answered else ():
            await self._write(other)
        return await self._write(record)

    async def _write(self, record: Record) -> Entry:
        written: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        self._waiting.append((record, written))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        return await written

    async def _drain(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            try:
                entries = await asyncio.to_thread(self.journal.record, [record for record, _ in group])
            except Exception as error:  # any error: nobody may wait forever
                for _, written in group:
                    if not written.done():
                        written.set_exception(error)
                continue
            for (_, written), entry in zip(group, entries, strict=True):
                if not written.done():  # it was cancelled
                    written.set_result(entry)
