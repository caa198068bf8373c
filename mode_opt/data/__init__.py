"""ROOT in and out: uproot and awkward end here; ragged in, padded with mask out."""

from mode_opt.data.assembly import DesignedEvents, EventAssembler
from mode_opt.data.batches import RootBatches
from mode_opt.data.columns import Columns
from mode_opt.data.parquet import ParquetWriter
from mode_opt.data.ragged import Column, Ragged
from mode_opt.data.reader import Branch, RootReader
from mode_opt.data.table_writing import write_table
from mode_opt.data.writing import EventWriter, read_metadata, write_events

__all__ = [
    "Branch",
    "Column",
    "Columns",
    "DesignedEvents",
    "EventAssembler",
    "EventWriter",
    "ParquetWriter",
    "Ragged",
    "RootBatches",
    "RootReader",
    "read_metadata",
    "write_events",
    "write_table",
]
