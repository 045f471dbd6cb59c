"""Facts that modules tell each other, each handled once (DESIGN, "Between modules").

A view calls `emit` in its transaction, which writes a row to the database's outbox. The `Relay` publishes the rows to a
Redis stream; each module's `Consumer` reads them and hands them to handlers, in one transaction with the module's
inbox, so that an event delivered again changes nothing. A `Worker` is the process that runs these:

    python -m services.topics.worker
"""

from forum.events.cleaning import Cleaner, Expiry
from forum.events.command import main
from forum.events.consumer import Consumer, Event, Handler
from forum.events.outbox import drained, emit, inbox_table, outbox_table, parked_table
from forum.events.relay import Relay
from forum.events.worker import Worker

__all__ = [
    "Cleaner",
    "Consumer",
    "Event",
    "Expiry",
    "Handler",
    "Relay",
    "Worker",
    "drained",
    "emit",
    "inbox_table",
    "main",
    "outbox_table",
    "parked_table",
]
