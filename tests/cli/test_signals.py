"""Ctrl-C and SIGTERM, sent for real to a process of its own."""

import json
import signal
import subprocess
import sys
import time

import pytest

PROGRAM = "import sys; from tlkit.cli.main import main; main(sys.argv[1:])"


def stop(kitchen, number, *arguments, ending="sleep"):
    """Start the toy recipe, wait until it is asleep, send a signal: (code, stdout, stderr, seconds)."""
    command = [sys.executable, "-c", PROGRAM, "run", "toy", "photos", "--ending", ending, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    asleep = kitchen / "saved_models" / "toy-photos" / "unfinished-1" / "asleep"
    patience = time.monotonic() + 20
    while not asleep.exists() and time.monotonic() < patience and process.poll() is None:
        time.sleep(0.02)
    begun = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    return process.returncode, out, err, time.monotonic() - begun


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_in_one_line_and_keeps_its_folder(number, code, kitchen, tlkit_command):
    returned, out, err, seconds = stop(kitchen, number)
    assert (returned, out) == (code, "")
    assert seconds < 5
    assert err.splitlines()[-1] == "Stopped. tlkit resume saved_models/toy-photos/unfinished-1 goes on."
    assert "Traceback" not in err
    folder = kitchen / "saved_models" / "toy-photos" / "unfinished-1"
    assert (folder / "log.txt").read_text().splitlines()[-1] == err.splitlines()[-1]
    settings = json.loads((folder / "options.json").read_text())
    settings["options"]["ending"] = "good"
    (folder / "options.json").write_text(json.dumps(settings))
    assert tlkit_command("resume", "toy-photos").code == 0


def test_a_stop_is_json_where_json_is_wanted(kitchen):
    returned, out, _, _ = stop(kitchen, signal.SIGINT, "--json")
    assert returned == 130
    assert json.loads(out)["error"] == {
        "code": 130,
        "kind": "Stopped",
        "problem": "Stopped.",
        "remedy": "tlkit resume saved_models/toy-photos/unfinished-1 goes on.",
    }


def test_a_main_thread_that_cannot_answer_is_ended(kitchen):
    """The toy is inside one C call of many minutes, as TensorFlow can be; its grace is 0.3 s."""
    returned, _, err, seconds = stop(kitchen, signal.SIGINT, ending="stuck")
    assert returned == 130
    assert 0.2 < seconds < 5
    assert err.splitlines()[-1] == "Stopped. tlkit resume saved_models/toy-photos/unfinished-1 goes on."


def test_a_stop_that_became_another_exception_is_a_stop():
    """An import that is interrupted may raise ImportError instead."""
    from tlkit.cli.signals import Stopped, stoppable

    def broken_import():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("numpy broke") from None

    with pytest.raises(Stopped) as caught, stoppable(lambda code: None):
        broken_import()
    assert caught.value.exit_code == 130


def test_everything_is_as_it_was_afterwards():
    from tlkit.cli.signals import stoppable

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with stoppable(lambda code: None):
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert signal.set_wakeup_fd(-1) == -1


def test_other_exceptions_pass():
    from tlkit.cli.signals import stoppable

    with pytest.raises(ZeroDivisionError), stoppable(lambda code: None):
        1 / 0  # noqa: B018
