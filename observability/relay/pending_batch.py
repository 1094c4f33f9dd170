"""A batch on its way: chunks of several files, what will be in flight, and where their cursors stand after it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from observability.relay.sinks.sink import Batch

if TYPE_CHECKING:
    from observability.relay.sinks.sink import SendResult, Sink
    from observability.relay.sources.files.tail import Chunk, Cursor
    from observability.relay.sources.files.tailed_file import TailedFile

__all__ = ["PendingBatch", "send_together"]


@dataclass(slots=True)
class PendingBatch:
    """Chunks of different files of one dataset, to be sent and noted together."""

    taken: list[tuple[TailedFile, Cursor, Chunk]] = field(default_factory=list)
    size: int = 0

    def add(self, file: TailedFile, cursor: Cursor, chunk: Chunk) -> None:
        """Take a chunk that was read from where the cursor stands."""
        self.taken.append((file, cursor, chunk))
        self.size += len(chunk.raw)

    def ends(self) -> list[tuple[str, Cursor, int]]:
        """Name, cursor and end of what will be in flight."""
        return [
            (file.stream.name, cursor, chunk.cursor.offset) for file, cursor, chunk in self.taken if chunk.spliced.ids
        ]

    def batches(self) -> list[Batch]:
        """The documents of each file; ``resent`` where a part of them was in flight before."""
        return [
            _batch(file, chunk, resent=cursor.offset < cursor.sending)
            for file, cursor, chunk in self.taken
            if chunk.spliced.ids
        ]

    def moves(self) -> list[tuple[TailedFile, Cursor]]:
        """Each file with the cursor behind its chunk."""
        return [
            (file, replace(chunk.cursor, sending=cursor.sending if cursor.sending > chunk.cursor.offset else 0))
            for file, cursor, chunk in self.taken
        ]


def send_together(sink: Sink, batches: list[Batch]) -> SendResult:
    """Send batches of one dataset by one call, where there are several."""
    if len(batches) == 1:
        return sink.send(batches[0])
    return sink.send_all(batches)


def _batch(file: TailedFile, chunk: Chunk, *, resent: bool) -> Batch:
    return Batch(
        file.stream.dataset, file.stream.name, file.stream.group,
        chunk.spliced.ids, chunk.spliced.documents, resent, file.stream.prefix, chunk.raw,
    )  # fmt: skip
