"""Django's PostgreSQL backend with a health check that costs no round trip."""

import select
from typing import Any

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):  # type: ignore[misc]
    """Before a kept connection is used again, Django asks it `SELECT 1`, in every request. Here the socket is looked at
    instead: a server that restarted or ended the session has closed it, and a closed socket is readable at once."""

    def is_usable(self) -> bool:
        connection: Any = self.connection
        if connection is not None and not connection.closed:
            poll = select.poll()
            poll.register(connection.fileno(), select.POLLIN)
            if not poll.poll(0):
                return True
        return bool(super().is_usable())
