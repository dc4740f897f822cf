"""``esrgan ui`` in a browser. Gradio and a Chromium (Debian's, or Playwright's own) are needed; CI has both.

Pictures come as PNG, so that what the page shows is compared with what the networks make, level for level.
"""

import http.client
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from esrgan_lightning import Upscaler
from esrgan_lightning.inference import NetworkPair
from esrgan_lightning.networks import RRDBNet
from esrgan_lightning.ops import read_image, write_image
from esrgan_lightning.ui import view
from esrgan_lightning.weights import save_generator

pytest.importorskip("gradio", reason="the extra ui is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium"),
    pytest.mark.xdist_group("page"),  # one server, one browser
]
WAIT = 60_000  # ms; a busy machine


def photo(path: Path, height: int, width: int, seed: int) -> Path:
    noise = torch.rand(1, 3, height // 8, width // 8, generator=torch.Generator().manual_seed(seed))
    image = torch.nn.functional.interpolate(noise, (height, width), mode="bicubic").clamp(0, 1)
    write_image(path, (image[0] * 255).round().to(torch.uint8))
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Two networks, a run, and the folder in which the server makes its files."""
    home = tmp_path_factory.mktemp("home")
    for seed, name in enumerate(("psnr", "gan")):
        torch.manual_seed(seed)
        net = RRDBNet(num_features=8, num_blocks=1, growth_channels=4, init_scale=1.0)
        save_generator(home / f"{name}.safetensors", net)
    run = home / "runs/sweep/0"
    (run / "samples").mkdir(parents=True)
    (run / "config.yaml").write_text("seed: 0\n")
    (run / "outcome.json").write_text('{"state": "running"}')
    (run / "metrics.csv").write_text("step,train/loss,val/psnr_y\n10,0.5,\n20,0.25,21.5\n")
    photo(run / "samples/update_0000020.png", 64, 256, 5)
    (home / "runs/secret.txt").write_text("secret")
    (home / "tmp").mkdir()
    return home


@pytest.fixture(scope="module")
def address(home):
    command = [sys.executable, "-m", "esrgan_lightning", "ui", "--port", "0", "--runs", home / "runs"]
    command += ["--allowed-host", "photos.example.org"]
    command += ["--psnr", home / "psnr.safetensors", "--gan", home / "gan.safetensors"]
    (home / "cwd").mkdir()  # nothing that the page shows lies in the folder that it is called from
    options = {"cwd": home / "cwd", "env": os.environ | {"TMPDIR": str(home / "tmp")}, "text": True}
    with (home / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, **options)
    for line in server.stdout:
        if found := re.search(r"http://\S+", line):
            break
    else:
        pytest.fail(f"the server did not start: {(home / 'log').read_text()}")
    yield found[0].rstrip("/")
    server.send_signal(signal.SIGTERM)
    server.wait(60)
    server.stdout.close()
    assert list((home / "tmp").iterdir()) == [], "what visitors brought stays on the disk"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as engine:
        # Root has no sandbox, and a container little shared memory.
        options = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        try:
            browser = engine.chromium.launch(executable_path=CHROMIUM, args=options)
        except playwright.Error as error:
            pytest.skip(f"{CHROMIUM} does not start here: {error.message.splitlines()[0]}")
        yield browser
        browser.close()


@pytest.fixture
def visitor(browser, address):
    context = browser.new_context(viewport={"width": 1280, "height": 1200}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(WAIT)
    page.strangers = []
    own = (address, "data:", "blob:")
    page.on("request", lambda asked: asked.url.startswith(own) or page.strangers.append(asked.url))
    page.goto(address)
    settled(page)
    yield page
    context.close()
    assert page.strangers == [], "the page asks the network for something"


def sources(page, where: str = "#part") -> list[str]:
    return [image.get_attribute("src") for image in page.locator(f"{where} img").all()]


def settled(page, where: str = "#part", other_than: list[str] = ()) -> list[str]:
    """The two pictures under the divider, once they are there and none of those given is.

    The browser puts one after the other, so that a look between the two finds one of each. Another α
    leaves the bicubic one as it is.
    """
    end = time.monotonic() + WAIT / 1000
    while time.monotonic() < end:
        found = sources(page, where)
        if len(found) == 2 and all(found) and set(found).isdisjoint(other_than):
            return found
        page.wait_for_timeout(100)
    raise AssertionError(f"no new picture in {where}: {page.locator('body').inner_text()}")


def pixels(page, source: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(page.request.get(source).body())).convert("RGB"))


def upload(page, path: Path) -> list[str]:
    before = sources(page)
    page.set_input_files("#photo input[type=file]", path)
    return settled(page, other_than=before)


def expected(home, path: Path, alpha: float, side: int = 128):
    """What the page is to show of the middle of a photo, made without it."""
    pair = NetworkPair.read(home / "psnr.safetensors", home / "gan.safetensors", pre_pad=8)
    picture = view.as_picture(read_image(path), is_hr=False, scale=4)
    both = view.compare(picture, view.part_at(picture, 0.5, 0.5, side), pair, alpha)
    return [view.shown(each, 768).permute(1, 2, 0).numpy() for each in both]


def message(page) -> str:
    toast = page.locator(".toast-body").last
    toast.wait_for()
    return toast.inner_text()


def test_the_first_look_is_an_example_with_its_figures(visitor):
    """Whoever opens the page sees something; NIQE, PSNR and SSIM against the original."""
    text = visitor.locator("#figures").inner_text()
    assert "bicubic, part" in text
    assert "α = 1, part" in text
    assert len(re.findall(r"\d\d\.\d\d", text)) >= 2


def test_upload_slide_and_compare(home, visitor, tmp_path):
    path = photo(tmp_path / "mine.png", 160, 200, 1)
    first = upload(visitor, path)
    for shown, right in zip(first, expected(home, path, 1.0), strict=True):
        np.testing.assert_array_equal(pixels(visitor, shown), right)
    assert not visitor.locator("#figures").is_visible(), "figures without an original"
    visitor.locator("#alpha input[type=range]").fill("0.25")
    second = settled(visitor, other_than=first[1:])
    for shown, right in zip(second, expected(home, path, 0.25), strict=True):
        np.testing.assert_array_equal(pixels(visitor, shown), right)
    assert not np.array_equal(*(pixels(visitor, each[1]) for each in (first, second)))
    divider = visitor.locator("#part .inner, #part [role=slider]").first
    box = divider.bounding_box()
    visitor.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    visitor.mouse.down()
    visitor.mouse.move(box["x"] - 150, box["y"] + box["height"] / 2)
    visitor.mouse.up()
    assert divider.bounding_box()["x"] < box["x"] - 50, "the divider cannot be dragged"


def test_a_click_on_the_map_moves_the_part(home, visitor, tmp_path):
    path = photo(tmp_path / "mine.png", 300, 400, 2)
    first = upload(visitor, path)
    area = visitor.locator("#map img")
    box = area.bounding_box()
    area.click(position={"x": box["width"] * 0.98, "y": box["height"] * 0.98})
    second = settled(visitor, other_than=first)
    corner = read_image(path)[:, -144:, -144:]
    right = view.shown(Upscaler(home / "gan.safetensors", pre_pad=8).upscale(corner)[:, -512:, -512:], 768)
    np.testing.assert_array_equal(pixels(visitor, second[1]), right.permute(1, 2, 0).numpy())


def test_the_whole_comes_home(home, visitor, tmp_path):
    """The file has all pixels, and is what the network makes of the whole photo."""
    path = photo(tmp_path / "mine.png", 96, 120, 3)
    assert visitor.locator("#example input").input_value()
    upload(visitor, path)
    assert visitor.locator("#example input").input_value() == "", "an example's name stands by an upload"
    visitor.locator("#whole").click()
    settled(visitor, "#result")
    with visitor.expect_download() as waiting:
        visitor.locator("#download").click()
    assert waiting.value.suggested_filename == "mine_x4_alpha1.png"
    waiting.value.save_as(tmp_path / "got.png")
    right = Upscaler(home / "gan.safetensors", pre_pad=8).upscale(read_image(path))
    assert torch.equal(read_image(tmp_path / "got.png"), right)


def test_an_original_is_shrunk_and_measured(visitor, tmp_path):
    first = upload(visitor, photo(tmp_path / "hr.png", 512, 640, 4))
    visitor.locator("#is-hr input").check()
    settled(visitor, other_than=first)
    visitor.locator("#figures").wait_for()
    assert "bicubic, part" in visitor.locator("#figures").inner_text()


def test_a_broken_file_is_told_in_words_and_the_page_goes_on(visitor, tmp_path):
    name = "broken ![a](evil) <img src=evil>.png"  # Gradio drops colons and slashes
    (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n" + b"nothing" * 20)
    before = sources(visitor)
    visitor.set_input_files("#photo input[type=file]", tmp_path / name)
    assert "broken" in message(visitor)
    assert visitor.locator(".toast-body img").count() == 0
    assert sources(visitor) == before
    visitor.locator("#alpha input[type=range]").fill("0.5")
    settled(visitor, other_than=before[1:])


@pytest.mark.parametrize("told", ["64.0 megapixels", "size"])
def test_enormous_pictures_and_files_are_refused(visitor, tmp_path, told):
    """64 million pixels in 200 kB: the header is believed, and nothing is unpacked."""
    if told == "size":
        (tmp_path / "enormous.png").write_bytes(bytes(33 * 2**20))
    else:
        Image.new("L", (8000, 8000)).save(tmp_path / "enormous.png")
    visitor.set_input_files("#photo input[type=file]", tmp_path / "enormous.png")
    assert told in message(visitor).lower()


def test_two_visitors_have_each_their_own(home, browser, address, tmp_path):
    pages = []
    for _ in range(2):
        page = browser.new_context().new_page()
        page.set_default_timeout(WAIT)
        page.goto(address)
        pages.append(page)
    for page in pages:
        settled(page)
    paths = [photo(tmp_path / f"{number}.png", 128, 128, 6 + number) for number in range(2)]
    before = [sources(page) for page in pages]
    for page, path in zip(pages, paths, strict=True):
        page.set_input_files("#photo input[type=file]", path)
    for page, path, earlier in zip(pages, paths, before, strict=True):
        shown = settled(page, other_than=earlier)
        np.testing.assert_array_equal(pixels(page, shown[1]), expected(home, path, 1.0)[1])
        page.context.close()


def test_a_run_is_followed_while_it_trains(home, visitor):
    visitor.get_by_role("tab", name="Follow a run").click()
    status = visitor.locator("#status textarea")
    playwright.expect(status).to_have_value(re.compile(r"sweep/0: running.*psnr_y 21\.5"), timeout=WAIT)
    with (home / "runs/sweep/0/metrics.csv").open("a") as file:
        file.write("30,0.125,23.25\n")
    playwright.expect(status).to_have_value(re.compile(r"psnr_y 23\.25"), timeout=WAIT)
    # Its texts are shown as they are; the visitor's browser would fetch a picture of theirs.
    foreign = "![a](http://evil.example/1)<img src=http://evil.example/2>"
    (home / "runs/sweep/0/outcome.json").write_text(json.dumps({"state": "failed", "error": foreign}))
    playwright.expect(status).to_have_value(re.compile(re.escape(foreign)), timeout=WAIT)
    visitor.locator("#samples img").wait_for()
    for where in ("left", "right"):
        visitor.locator(f"#plot-{where} img").wait_for()


def answer(request: str | urllib.request.Request) -> tuple[int, str]:
    """Status and text, whatever it is."""
    try:
        with urllib.request.urlopen(request, timeout=120) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""


PREFIXES = ("/gradio_api/file=", "/file=", "/gradio_api/stream/", "/static/", "/assets/")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_no_file_of_the_server_is_given_out(home, address, prefix):
    upwards = ("../../../../etc/passwd", "..%2f..%2f..%2f..%2fetc/passwd", "/etc/passwd")
    for path in (*upwards, str(home / "runs/secret.txt"), str(home / "psnr.safetensors")):
        assert answer(f"{address}{prefix}{path}")[0] in (400, 403, 404, 405)


def test_no_other_name_or_site_is_answered(address):
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        assert answer(urllib.request.Request(address, headers=headers))[0] == 403
    allowed = {"Host": "photos.example.org", "Origin": "https://photos.example.org"}
    assert answer(urllib.request.Request(address, headers=allowed))[0] == 200
    # Refused by what it claims: the body need not be sent.
    page = http.client.HTTPConnection(address.split("/")[2], timeout=120)
    page.putrequest("POST", "/gradio_api/upload")
    page.putheader("Content-Length", str(40 * 2**20))
    page.endheaders()
    assert page.getresponse().status == 413
    page.close()


def test_no_file_of_the_server_is_opened_as_an_upload(home, address):
    """A forged request that names a path in place of an upload, and a run outside of the folder of runs."""
    secret = photo(home / "private.png", 64, 64, 9)
    (home / "config.yaml").write_text("seed: 123454321\n")
    forged = (
        [{"path": str(secret), "meta": {"_type": "gradio.FileData"}}, 128],
        ["..", None, None, "newest"],
        ["sweep/../..", None, None, "newest"],
    )
    functions = [each["id"] for each in json.loads(answer(f"{address}/config")[1])["dependencies"]]
    for number in functions:
        for data in forged:
            body = json.dumps({"data": data, "fn_index": number, "session_hash": "forged"}).encode()
            headers = {"Content-Type": "application/json"}
            status, _ = answer(urllib.request.Request(f"{address}/gradio_api/queue/join", body, headers))
            assert status < 500
    _, told = answer(f"{address}/gradio_api/queue/data?session_hash=forged")
    assert told.count("process_completed") >= len(functions)
    assert '"path"' not in told, "a picture of something was given out"
    assert secret.exists(), "it was taken for an upload, and deleted"
