"""Drives the page of a run: `page.py URL CHROMIUM`; with a token, the form that asks for it. Writes a line at each step and waits for one. What it does not
find within a minute is an error."""

import re
import sys

from playwright.sync_api import expect, sync_playwright

url, chromium, *token = sys.argv[1:]
wrong = []


def step(name):
    print(name, flush=True)
    if not sys.stdin.readline():
        sys.exit("nobody goes on")


def number(text):
    return int(re.sub(r"\D", "", text))


def until(page, condition):
    """The page's policy forbids what `wait_for_function` does."""
    for _ in range(1200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    sys.exit(f"never true: {condition}")


def look(page):
    page.on("console", lambda said: wrong.append(f"console: {said.type} {said.text}"))
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
    page.on("request", lambda request: None if request.url.startswith(url) else wrong.append(f"outside: {request.url}"))


def shows_the_state(page):
    expect(page.locator("#live")).to_have_text("live")
    copying = page.locator(".phase", has_text="copying")
    expect(copying).to_contain_text("of 40 objects")
    pair = page.locator("#pairs tbody tr")
    expect(pair).to_have_count(1)
    expect(pair).to_contain_text("from-here")
    expect(pair).to_contain_text("40 · 39.1 KiB")
    worker = page.locator("#workers tbody tr")
    expect(worker).to_contain_text("run")
    expect(worker).to_contain_text("from-here/object/")
    for chart in ["throughput", "rate", "sizes", "seconds"]:
        expect(page.locator(f"#{chart} canvas")).to_have_count(1)
    assert number(page.locator(".tile", has_text="Copied").locator("strong").inner_text()) < 40


def pages_and_filters(page):
    rows = page.locator("#failures tbody tr")
    everything = page.locator("#reasons button", has_text="all")
    expect(everything).to_contain_text("100,000")
    expect(rows).to_have_count(25)
    # What comes from outside is text, and what cannot be seen is spelled out.
    expect(rows.first).to_contain_text("<img src=x onerror=alert(1)>/000000\\u{202e}gpj")
    assert page.locator("#failures img").count() == 0
    first = rows.first.inner_text()
    page.locator("#next").click()
    expect(page.locator("#at")).to_have_text("Page 2")
    expect(rows.first).to_contain_text("/000025")
    page.locator("#before").click()
    expect(rows.first).to_contain_text("/000000")
    assert rows.first.inner_text() == first
    denied = page.locator("#reasons button", has_text="denied-at-source")
    expect(denied).to_contain_text("25,000")
    denied.click()
    expect(denied).to_have_attribute("aria-pressed", "true")
    expect(rows.nth(1)).to_contain_text("/000004")
    expect(page.locator("#cure")).to_contain_text("is refused at the source: allow")
    everything.click()
    page.locator("#search").fill("/099999")
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("/099999")
    expect(page.locator("nav.pages")).to_be_hidden()
    page.locator("#search").fill("no such key")
    expect(page.locator("#found")).to_have_text("No failure matches.")
    page.locator("#search").fill("")
    expect(rows).to_have_count(25)


def fits(page):
    for width, scheme in [(390, "light"), (390, "dark"), (1280, "dark"), (2000, "light")]:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        until(page, "document.documentElement.scrollWidth <= innerWidth")
        for chart in ["throughput", "sizes"]:
            within = f"document.querySelector('#{chart} canvas').getBoundingClientRect().right <= innerWidth"
            until(page, within)
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(background) != light


def follows(page):
    expect(page.locator("#live")).to_have_text("the process has ended")
    expect(page.locator(".tile", has_text="Copied").locator("strong")).to_have_text("40")
    expect(page.locator(".phase", has_text="closing")).to_contain_text("40 of 40 objects")


def asks_for_the_token(page):
    page.locator("#token").fill("not-the-token-at-all")
    page.get_by_role("button").click()
    expect(page.locator("#said")).to_have_text("This is not the token.")
    page.locator("#token").fill(token[0])
    page.get_by_role("button").click()
    expect(page.locator("#live")).to_have_text("live")
    assert page.evaluate("document.cookie") == "", "scripts see the session"
    assert page.url == url, page.url
    page.reload()
    expect(page.locator("#live")).to_have_text("live")


with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"])
    page = browser.new_page()
    page.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    look(page)
    page.goto(url)
    if token:
        asks_for_the_token(page)
        wrong = [one for one in wrong if "status of 401" not in one]
        assert not wrong, "\n".join(wrong)
        browser.close()
        sys.exit()
    shows_the_state(page)
    pages_and_filters(page)
    fits(page)
    copied = page.locator(".tile", has_text="Copied").locator("strong")
    before = copied.inner_text()
    step("held")
    expect(copied).not_to_have_text(before)
    follows(page)
    # The server is gone, and the page asks whether it is back: that alone may fail.
    wrong = [one for one in wrong if "ERR_CONNECTION_REFUSED" not in one]
    assert not wrong, "\n".join(wrong)
    browser.close()
