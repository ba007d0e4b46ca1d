"""The connection as a user meets it: in Airflow's list of providers, in the form and behind its test button."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_sentinelhub.simulator.process import Simulator
from devtools.airflow_stack import AirflowStack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    if not CHROMIUM or not DRIVER:
        pytest.skip("no browser here: install chromium and chromedriver to see the form rendered")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking"):
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={tmp_path}")
    options.add_argument("--window-size=1300,1500")
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.implicitly_wait(20)
    yield driver
    driver.quit()


def test_form_shows_our_fields(airflow: AirflowStack, browser: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    browser.get(f"http://127.0.0.1:{airflow.port}/connections")
    browser.find_element(By.XPATH, "//button[contains(., 'Add Connection')]").click()
    kind = browser.find_elements(By.CSS_SELECTOR, "input[role=combobox]")[-1]
    kind.send_keys("Sentinel Hub")
    browser.find_element(By.XPATH, "//*[@role='option' and contains(., 'Sentinel Hub')]")
    kind.send_keys(Keys.ENTER)
    standard = shown(browser, "Standard Fields", {"Client ID", "Client secret", "Base URL"})
    choices = {"aws-eu-central-1", "AWS US (Oregon)", "Copernicus Data Space Ecosystem"}
    extra = shown(browser, "Extra Fields", {"Deployment", "Token URL", "Path layout"} | choices)
    for hidden in ("Port", "Schema"):
        assert hidden not in (standard + extra).splitlines()


def shown(browser: Any, section: str, expected: set[str]) -> str:
    """Open a section of the form and return the dialog's text when all that is expected is in sight.

    A section unfolds slowly, and what is still folded is not part of the text.
    """
    from selenium.webdriver.common.by import By

    header = browser.find_element(By.XPATH, f"//button[normalize-space()='{section}']")
    if header.get_attribute("aria-expanded") != "true":
        header.click()
    deadline = time.monotonic() + 20
    missing = expected
    while missing and time.monotonic() < deadline:
        text = str(browser.find_element(By.CSS_SELECTOR, "[role=dialog]").text)
        missing = {label for label in expected if label not in text}
    assert not missing, f"never appeared in {section}"
    return text


@pytest.mark.parametrize("good", [True, False])
def test_button_tests_the_connection(airflow: AirflowStack, sim: Simulator, good: bool) -> None:
    ready = sim.ready
    connection = {
        "connection_id": "tried",
        "conn_type": "sentinelhub",
        "login": ready.client_id,
        "password": ready.client_secret if good else "not-the-secret",
        "host": ready.base_url,
        "extra": json.dumps({"deployment": "custom", "token_url": ready.token_url}),
    }
    answer = airflow.api.call("POST", "/connections/test", connection)
    assert answer["status"] is good
    expected = f"Connected to Custom at {ready.base_url}" if good else "Step 2 of 3, getting a token, failed"
    assert expected in answer["message"]
    assert "not-the-secret" not in answer["message"]


def test_airflow_lists_the_provider(airflow: AirflowStack) -> None:
    command = [sys.executable, "-m", "airflow", "providers", "list", "--output", "json"]
    found = subprocess.run(command, env=airflow.env, capture_output=True, text=True, check=True).stdout
    names = {provider["package_name"] for provider in json.loads(found[found.index("[") :])}
    assert "airflow-provider-sentinelhub" in names
