"""Batches of a reader for training: streamed, with several workers."""

from collections.abc import Callable, Iterator
from typing import Any, final

from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from mode_opt.data.columns import Columns
from mode_opt.data.reader import RootReader
from mode_opt.errors import ConfigurationError


@final
class RootBatches(IterableDataset):
    """A stream of batches, shared among the workers of a ``DataLoader`` without repetition or loss.

    Each worker reads its own contiguous share of the entries. Among several processes (``world`` of them)
    each reads the share of its ``rank``.

    Args:
        reader: where the entries come from.
        size: entries in a batch; the last batch of each worker may be smaller.
        assemble: from columns to what is wanted, e.g. an `EventAssembler`; columns as they are if not given.
        drop_last: leave out batches that are not full.
        rank: number of this process.
        world: number of processes.

    Raises:
        ConfigurationError: if ``size`` or ``rank`` cannot be used.
    """

    def __init__(
        self,
        reader: RootReader,
        size: int,
        assemble: Callable[[Columns], Any] | None = None,
        *,
        drop_last: bool = False,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        super().__init__()
        if size < 1:
            raise ConfigurationError("batch_size", size, "at least 1")
        if not 0 <= rank < world:
            raise ConfigurationError("rank", rank, f"0 to {world - 1} (world - 1)")
        self.reader = reader if world == 1 else reader.shard(rank, world)
        self.size = size
        self.assemble = assemble
        self.drop_last = drop_last
        # Counted here once rather than in every worker.
        self._entries = reader.entries

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        reader = self.reader if worker is None else self.reader.shard(worker.id, worker.num_workers)
        for columns in reader.batches(self.size, self.drop_last):
            if self.assemble is not None:
                yield self.assemble(columns)
            else:
                # Sent to another process, a view would take the memory of its whole chunk along.
                yield columns if worker is None else columns.clone()

    def loader(self, workers: int = 0) -> DataLoader:
        """A ``DataLoader`` that passes the batches on as they are."""
        return DataLoader(self, batch_size=None, num_workers=workers)
