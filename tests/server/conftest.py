"""One server for all tests that need nothing special of it."""

import pytest
from server_helpers import running


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    # Short limits of size, so that the tests of them are quick.
    settings = {"max_upload_bytes": 3_000_000, "max_duration_s": 120.0, "max_whole_s": 20.0, "max_channels": 4}
    with running(tmp_path_factory.mktemp("server"), **settings, key_requests_per_min=0) as made:
        yield made
        assert "Traceback" not in made.log.read_text()  # of all the abuse in these tests, nothing was unforeseen
