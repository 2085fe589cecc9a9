"""Write the reference pages that are made from the code; `make docs` runs it, a test compares."""

from pathlib import Path

from docs.reference.admin import admin_page
from docs.reference.cli import cli_page
from docs.reference.config import config_page
from docs.reference.doctor import doctor_page
from docs.reference.filter import filter_page
from docs.reference.metrics import metrics_page
from docs.reference.reasons import reasons_page
from docs.reference.settings import settings_page

DOCS = Path(__file__).parent
PAGES = {
    "admin-api.md": admin_page,
    "doctor.md": doctor_page,
    "settings.md": settings_page,
    "filter.md": filter_page,
    "cli.md": cli_page,
    "processing-config.md": config_page,
    "drop-reasons.md": reasons_page,
    "metrics.md": metrics_page,
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())
