import pytest

from observability.settings import get_settings


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTRAIL_HOME", str(tmp_path / "contrail"))
    monkeypatch.setenv("CONTRAIL_RELAY__LOG_FOLDER", str(tmp_path / "logs"))
    get_settings.cache_clear()
    yield tmp_path / "contrail"
    get_settings.cache_clear()
