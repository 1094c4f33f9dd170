"""The paths of the platform's files, below CONTRAIL_HOME and in the repository."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from observability.local.errors import PlatformError

__all__ = ["Layout", "repository"]


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders and files of one platform."""

    home: Path

    @property
    def airflow_home(self) -> Path:
        """AIRFLOW_HOME of the platform's Airflow."""
        return self.home / "airflow"

    @property
    def log_folder(self) -> Path:
        """Airflow's base_log_folder."""
        return self.airflow_home / "logs"

    @property
    def components(self) -> Path:
        """Folder of the components' logs."""
        return self.log_folder / "components"

    @property
    def keys(self) -> Path:
        """Folder of the generated secrets, for its owner only."""
        return self.home / "keys"

    @property
    def passwords(self) -> Path:
        """Users and passwords of the Airflow UI, in the form Airflow's simple auth manager reads."""
        return self.keys / "passwords.json"

    @property
    def connections(self) -> Path:
        """Airflow Connections of this platform by id, as Airflow's local filesystem backend reads them (JSON)."""
        return self.keys / "connections.json"

    @property
    def data(self) -> Path:
        """Folder of the warehouse and of what the DAGs write."""
        return self.home / "data"

    @property
    def state(self) -> Path:
        """The status file of the supervisor and its components (JSON)."""
        return self.home / "run" / "platform.json"

    @property
    def environment(self) -> Path:
        """The settings that the components were started with, ours and not secret (JSON): for commands that join in."""
        return self.home / "run" / "environment.json"

    @property
    def lock(self) -> Path:
        """Held for as long as the guardian or the supervisor lives."""
        return self.home / "run" / "platform.lock"

    def create(self) -> None:
        """Make the folders, readable by their owner only. Raises :class:`PlatformError`."""
        try:
            for folder in (self.home, self.keys, self.state.parent, self.components, self.data):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise PlatformError(
                f"cannot create {error.filename}: {error.strerror}; name a folder that can be written by CONTRAIL_HOME"
            ) from error


def repository() -> Path:
    """The checkout that this package stands in: its dags/ and config/."""
    return Path(__file__).resolve().parents[2]
