"""Connections and Variables as this process, which has Airflow, finds them."""

from __future__ import annotations

from airflow.models.variable import Variable

from observability.airflow.connections import resolve
from observability.credentials import CredentialsError
from observability.watch.notify.channels.channel import Contact, contact_of

__all__ = ["ContactsHere"]


class ContactsHere:
    """The :class:`~observability.watch.notify.channels.channel.Contacts` of the watcher in the API server."""

    def connection(self, conn_id: str) -> Contact:
        """The Connection. Raises LookupError."""
        try:
            return contact_of(resolve(conn_id))
        except CredentialsError as error:
            raise LookupError(str(error)) from error

    def variable(self, key: str) -> str:
        """The Variable. Raises LookupError."""
        found = Variable.get(key, default_var=None)
        if found is None:
            raise LookupError(f"there is no Airflow Variable {key!r}; set it with `airflow variables set`")
        return str(found)
