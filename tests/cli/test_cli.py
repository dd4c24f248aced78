"""The command line as its users meet it: output, files, messages and exit codes."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import replace

import cv2
import numpy as np
import pytest
from conftest import EXAMPLES, ROOT

from helpers import rows, table
from mien.faces import COLUMNS
from mien.labels import COMBINED8, FERPLUS8

ASTRONAUT, HOPPER = EXAMPLES / "astronaut.jpg", EXAMPLES / "grace_hopper.jpg"


class TestAnalyze:
    def test_piped_output_is_json_lines(self, mien):
        code, out, err = mien("analyze", ASTRONAUT, HOPPER)
        assert code == 0
        first, second = rows(out)
        assert list(first) == [*COLUMNS, *COMBINED8.names, "error"]
        assert (first["source"], first["expression"]) == (str(ASTRONAUT), "happy")
        assert second["expression"] == "neutral"
        assert err == ""

    @pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
    def test_many_images_on_a_terminal_show_how_far_they_are(self):
        import pty

        shown, terminal = pty.openpty()
        command = [sys.executable, "-m", "mien", "analyze", *[str(ASTRONAUT)] * 6]
        process = subprocess.Popen(command, stdout=terminal, stderr=terminal, env={**os.environ, "TERM": "xterm"})
        os.close(terminal)
        parts = []
        with contextlib.suppress(OSError):  # Linux ends a terminal without another side so
            while part := os.read(shown, 4096):
                parts.append(part)
        os.close(shown)
        text = b"".join(parts).decode()
        assert process.wait(60) == 0, text
        assert text.count("1 face") == 6
        assert "analyzing" in text and "6/6" in text

    def test_other_label_set(self, mien):
        _, out, _ = mien("analyze", ASTRONAUT, "--labels", "ferplus")
        assert set(FERPLUS8.names) < set(rows(out)[0])

    def test_every_kind_of_output_at_once(self, mien, tmp_path):
        pytest.importorskip("pyarrow")
        import pyarrow.parquet

        names = ("rows.jsonl", "rows.csv", "rows.parquet", "faces.png")
        outputs = [argument for name in names for argument in ("-o", tmp_path / name)]
        code, out, err = mien("analyze", ASTRONAUT, *outputs, "-o", f"{tmp_path}/folder/")
        assert (code, out) == (0, "")
        assert err.count("wrote") == 5
        (row,) = table(tmp_path / "rows.csv")
        (same,) = rows((tmp_path / "rows.jsonl").read_text(encoding="utf-8"))
        (again,) = pyarrow.parquet.read_table(tmp_path / "rows.parquet").to_pylist()
        assert row["expression"] == same["expression"] == again["expression"] == "happy"
        assert float(row["x1"]) == same["x1"] == pytest.approx(again["x1"])
        for image in (tmp_path / "faces.png", tmp_path / "folder" / "astronaut.jpg"):
            drawn = cv2.imread(str(image))
            assert drawn.shape == (512, 512, 3)
            assert np.abs(drawn.astype(int) - cv2.imread(str(ASTRONAUT))).max() > 60

    def test_a_folder_of_results_has_tables_and_keeps_the_tree(self, mien, tmp_path):
        for folder, source in (("a", ASTRONAUT), ("b", HOPPER), ("b/c", ASTRONAUT)):
            (tmp_path / "in" / folder).mkdir(parents=True)
            shutil.copy(source, tmp_path / "in" / folder / "x.jpg")
        code, out, err = mien("analyze", tmp_path / "in", "-o", f"{tmp_path}/out/")
        assert (code, out, err) == (0, "", f"wrote {tmp_path}/out\n")
        found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
        assert found == ["a/x.jpg", "b/c/x.jpg", "b/x.jpg", "rows.csv", "summary.csv"]
        shown = ["happy", "happy", "neutral"]
        assert sorted(row["expression"] for row in table(tmp_path / "out" / "rows.csv")) == shown
        sums = table(tmp_path / "out" / "summary.csv")
        assert sorted(row["expression"] for row in sums) == shown
        assert all(row["faces"] == row["frames"] == "1" and row["track_id"] == row["error"] == "" for row in sums)

    def test_results_among_the_sources_are_not_analyzed_again(self, mien, tmp_path):
        shutil.copy(ASTRONAUT, tmp_path)
        for _ in range(2):
            assert mien("analyze", tmp_path, "-o", f"{tmp_path}/out/")[0] == 0
            assert [row["source"] for row in table(tmp_path / "out" / "rows.csv")] == [str(tmp_path / ASTRONAUT.name)]
        assert mien("analyze", tmp_path / "out", "-o", f"{tmp_path}/out/")[0] == 0  # where it is asked for
        assert [row["source"] for row in table(tmp_path / "out" / "rows.csv")] == [
            str(tmp_path / "out" / ASTRONAUT.name)
        ]

    def test_which_faces_are_kept(self, mien, tmp_path, astronaut):
        both = np.concatenate([cv2.resize(astronaut, (1024, 1024)), np.zeros((1024, 512, 3), np.uint8)], axis=1)
        both[:512, 1024:] = astronaut
        cv2.imwrite(str(tmp_path / "two.png"), both[..., ::-1])
        sides = {}
        for option in ((), ("--largest-only",), ("--min-face", 150), ("--min-confidence", 1)):
            _, out, _ = mien("analyze", tmp_path / "two.png", *option)
            sides[option[:1]] = [round(row["x2"] - row["x1"]) for row in rows(out) if row["face"] is not None]
        large, small = sorted(sides[()], reverse=True)
        assert large > 150 > small
        assert sides[("--largest-only",)] == [large] and len(sides[("--min-face",)]) == 1
        assert sides[("--min-confidence",)] == []
        code, _, err = mien("analyze", tmp_path / "two.png", "--min-confidence", 2)
        assert code == 2 and "--min-confidence must be 0 to 1" in err.replace("\n", " ")

    def test_an_image_without_a_face_is_a_result(self, mien, tmp_path):
        cv2.imwrite(str(tmp_path / "gray.png"), np.full((90, 90, 3), 99, np.uint8))
        code, out, _ = mien("analyze", tmp_path / "gray.png")
        assert code == 0
        (row,) = rows(out)
        assert (row["face"], row["expression"], row["error"]) == (None, None, None)

    def test_failures_are_records_and_the_rest_is_written(self, mien, tmp_path):
        (tmp_path / "text.jpg").write_text("no image")
        (tmp_path / "empty.png").touch()
        code, _, err = mien("analyze", ASTRONAUT, tmp_path, "missing.jpg", "-o", tmp_path / "out.csv", "-q")
        assert code == 1
        assert [bool(row["error"]) for row in table(tmp_path / "out.csv")] == [False, True, True, True]
        assert "3 of 4 sources failed" in err
        for name in ("text.jpg", "empty.png", "missing.jpg"):
            assert name in err

    def test_standard_input(self):
        command = [sys.executable, "-m", "mien", "analyze", "-"]
        done = subprocess.run(command, input=ASTRONAUT.read_bytes(), capture_output=True, check=True)
        assert rows(done.stdout.decode())[0]["expression"] == "happy"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--detector", "viola"), "unknown detector 'viola'; known: mtcnn, haar"),
            (("--prior", "none.csv"), "the prior must be natural, even, or a file of name,share"),
            (("--prior", "estimate"), "mien does not estimate shares"),
            (("--labels", "five"), "has no label set 'five'; it has combined, fer2013, ferplus"),
            (("--model", "big"), "unknown model 'big'; known: mien-b"),
            (("--device", "abacus"), "unknown device 'abacus'; known: auto, cpu"),
            (("-o", "x.xlsx"), "unknown extension '.xlsx'"),
            (("-o", "-"), "cannot write to -; for JSON on standard output leave it out and give --json"),
            (("--min-face", "3"), "--min-face must be at least 12"),
            (("--detector", "yunet"), "--detector-model"),
        ],
    )
    def test_wrong_use_names_the_fix(self, mien, arguments, message):
        code, out, err = mien("analyze", ASTRONAUT, *arguments)
        assert (code, out) == (2, "")
        assert message in err.replace("\n", " ")

    def test_an_absent_device_is_a_clear_error(self, mien):
        code, _, err = mien("analyze", ASTRONAUT, "--device", "coreml")
        assert code == 2
        assert "offers only" in err

    def test_unwritable_output(self, mien, tmp_path):
        (tmp_path / "file").touch()
        code, _, err = mien("analyze", ASTRONAUT, "-o", tmp_path / "file" / "rows.csv", "-q")
        assert code == 2
        assert "rows.csv" in err

    @pytest.mark.parametrize("host", ["2130706433", "0177.0.0.1", "[::ffff:127.0.0.1]", "localhost"])
    @pytest.mark.parametrize("name", ["x.jpg", "x.mp4", "x.m3u8"])
    def test_a_url_of_a_private_address_in_disguise_is_refused(self, mien, host, name):
        code, _, err = mien("analyze", f"http://{host}:9/{name}", "-q")
        assert code == 1 and "not a public address; pass --allow-private" in " ".join(err.split())

    @pytest.mark.parametrize("url", ["rtsp://2130706433:9/x", "http://0177.0.0.1:9/x", "tcp://[::ffff:127.0.0.1]:9"])
    def test_a_live_address_in_disguise_is_refused(self, mien, url):
        code, _, err = mien("live", url, "--headless", "--detector", "haar")
        assert code == 1 and "not a public address; pass --allow-private" in " ".join(err.split())
        code, _, err = mien("live", url, "--headless", "--detector", "haar", "--allow-private")
        assert code == 1 and "not a public address" not in err

    def test_a_url_of_a_private_address_is_refused(self, mien):
        code, _, err = mien("analyze", "http://127.0.0.1:9/x.jpg", "-q")
        assert code == 1
        assert "--allow-private" in err or "allow_private" in err

    def test_crops_from_a_folder_of_small_images(self, mien, tmp_path, astronaut):
        crop = cv2.resize(cv2.cvtColor(astronaut[55:180, 165:280], cv2.COLOR_RGB2GRAY), (48, 48))
        cv2.imwrite(str(tmp_path / "crop.png"), crop)
        code, out, _ = mien("analyze", tmp_path, "--detector", "none")
        assert code == 0
        assert rows(out)[0]["expression"] == "happy"

    def test_ctrl_c_keeps_what_was_done(self, tmp_path):
        image = cv2.imread(str(ASTRONAUT))
        for i in range(400):
            cv2.imwrite(str(tmp_path / f"{i:03}.jpg"), image)
        target = tmp_path / "out" / "rows.csv"
        command = [sys.executable, "-m", "mien", "analyze", str(tmp_path), "-o", str(target), "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            for _ in range(3):
                process.stdout.readline()
            process.send_signal(signal.SIGINT)
            started = time.monotonic()
            _, err = process.communicate(timeout=60)
        assert time.monotonic() - started < 15
        assert process.returncode == 130
        assert b"Traceback" not in err
        *done, last = table(target)
        assert 3 <= len(done) < 400
        assert all(row["expression"] == "happy" for row in done)
        assert "interrupted" in last["error"]
        assert [p.name for p in target.parent.iterdir()] == ["rows.csv"]

    def test_a_reader_that_goes_away_is_no_error(self):
        command = f"{sys.executable} -m mien analyze {ASTRONAUT} {HOPPER} {ASTRONAUT} {HOPPER} | head -n 1"
        done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True)
        assert len(done.stdout.splitlines()) == 1
        assert "Traceback" not in done.stderr


class TestOthers:
    def test_version_and_help(self, mien):
        code, out, _ = mien("--version")
        assert (code, out.split()[0]) == (0, "mien")
        assert mien("--help")[0] == 0

    def test_unknown_command(self, mien):
        assert mien("analyze")[0] == 2

    def test_detectors(self, mien):
        code, out, _ = mien("detectors")
        assert code == 0
        for name in ("mtcnn", "haar-alt2", "dlib-mmod", "yunet", "ssd", "none"):
            assert name in out

    def test_models_list_and_show(self, mien):
        code, out, _ = mien("models", "list", "--json")
        cards = json.loads(out)
        assert code == 0
        assert [c["name"] for c in cards if c["default"]] == ["mien-b"]
        code, out, _ = mien("models", "show", "mien-b", "--json")
        shown = json.loads(out)
        assert shown["sha256"] == next(c["sha256"] for c in cards if c["name"] == "mien-b")
        assert {m["n"] for m in shown["measured"]} >= {3589, 3199}
        assert "PublicTest" in mien("models", "show", "mien-b")[1]
        mesh = json.loads(mien("models", "show", "mien-mesh", "--json")[1])
        assert {**mesh, "default": False} in cards
        assert mesh["sha256"] in mien("models", "show", "mien-mesh")[1].replace("\n", "")
        assert "mien-mesh" in mien("models", "list")[1]

    def test_doctor(self, mien):
        code, out, _ = mien("doctor")
        assert code == 0, out
        assert "all is well" in out
        assert "happy" in out
        assert "onnxruntime" in out
        assert all(f"model {name}: hash is right" in out for name in ("mien-b", "mien-s", "mien-mesh"))

    def test_doctor_names_packages_of_every_extra(self):
        from mien.cli.doctor import PACKAGES

        extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
            "optional-dependencies"
        ]
        assert set(PACKAGES) - {"base"} == set(extras) - {"all", "dev", "docs"}
        for extra, names in PACKAGES.items():
            assert all(any(known.startswith(name) for known in extras.get(extra, names)) for name in names), extra

    def test_doctor_tells_of_another_mesh(self, mien, monkeypatch):
        from mien.attributes.mesh import MESHES, OWN_MESH

        monkeypatch.setitem(MESHES, OWN_MESH, replace(MESHES[OWN_MESH], sha256="0" * 64))
        code, out, _ = mien("doctor")
        assert code == 1
        assert "model mien-mesh: HASH IS WRONG" in out
        assert "mien-mesh.onnx is not the file that was measured" in out

    def test_a_missing_extra_gives_the_pip_line(self, tmp_path):
        code = (
            "import sys; sys.modules['pyarrow'] = None; sys.argv = ['mien', 'analyze', sys.argv[1], '-o', sys.argv[2]];"
            "from mien.cli import main; main()"
        )
        command = [sys.executable, "-c", code, str(ASTRONAUT), str(tmp_path / "x.parquet")]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"})
        assert done.returncode == 2
        assert "pip install 'mien[data]'" in done.stderr
        assert list(tmp_path.iterdir()) == []
