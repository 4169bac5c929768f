"""Writing to the journal from the event loop: many replies a commit, none used before it is committed."""

import asyncio

from .journal import Entry, Journal, Record


class Writer:
    """Groups records into commits: those that come in while one commit waits for the disk share the next.

    Args:
        journal: Where to.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._waiting: list[tuple[Record, asyncio.Future[Entry]]] = []
        self._task: asyncio.Task[None] | None = None

    async def write(self, record: Record) -> Entry:
        """Return the entry that stands for a request, once it is on the disk.

        Args:
            record: The reply.

        Returns:
            The first reply to that request.

        Raises:
            TeacherError: If the disk refuses it.
        """
        written: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        self._waiting.append((record, written))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        return await written

    async def _drain(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            try:
                entries = await asyncio.to_thread(self._journal.record, [record for record, _ in group])
            except Exception as error:  # whatever it is: nobody may wait for ever
                for _, written in group:
                    if not written.done():
                        written.set_exception(error)
                continue
            for (_, written), entry in zip(group, entries, strict=True):
                if not written.done():  # else nobody waits for it any more
                    written.set_result(entry)
