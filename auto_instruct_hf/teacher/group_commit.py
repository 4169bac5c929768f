"""Write replies to the journal in groups: those that arrive during a commit share the next one."""

import asyncio

from .journal import Entry, Journal, Record


class GroupCommit:
    """Commits records of one event loop, many at once."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._waiting: list[tuple[Record, asyncio.Future[Entry]]] = []
        self._committing: asyncio.Task[None] | None = None

    async def write(self, record: Record) -> Entry:
        """Commit a record; return the entry that stands for its request, which is the first one recorded."""
        written: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        self._waiting.append((record, written))
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit())
        return await written

    async def _commit(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            try:
                entries = await asyncio.to_thread(self._journal.record, [record for record, _ in group])
            except Exception as error:  # any error: nobody may wait forever
                for _, written in group:
                    if not written.done():
                        written.set_exception(error)
                continue
            for (_, written), entry in zip(group, entries, strict=True):
                if not written.done():  # it was cancelled
                    written.set_result(entry)
