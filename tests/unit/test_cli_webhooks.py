"""`longrun webhooks`, against a scripted service; and its receiver, with real messages on loopback."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from longrun import Client, Conflict, InvalidInput, InvalidRequest
from longrun.cli_output import Output
from longrun.cli_webhooks import seconds_of
from longrun.cli_webhooks_listen import received_text, registered
from longrun.webhooks_receiver import MAX_BODY, Receiver
from tests.unit.conftest import Run
from tests.unit.scripted_answers import error_of
from tests.unit.scripted_service import Reply, ScriptedService, problem
from tests.unit.test_client_webhooks import SECRET, URL, delivery_view, endpoint_view

LISTENER = "http://127.0.0.1:9000/"
JOB = {"id": "j1", "status": "completed", "result": "the end", "error": None}
MESSAGE = {"type": "job.completed", "data": {"task_id": "j1", "job": JOB}}
README = (Path(__file__).parents[2] / "README.md").read_text()


def post(url: str, secret: str = SECRET, name: str = "msg_1", **options: Any) -> int:
    """Sends a message as the service does, or with a `body`, an `age`, `headers`, or one more signature, `besides`.

    Returns what was answered.
    """
    body = options.get("body", json.dumps(MESSAGE).encode())
    at = datetime.now(UTC) - options.get("age", timedelta())
    headers = {
        "content-type": "application/json",
        "webhook-id": name,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": options.get("besides", "") + Webhook(secret).sign(name, at, body.decode(errors="replace")),
        **options.get("headers", {}),
    }
    return httpx.post(url, content=body, headers=headers, timeout=20).status_code


@contextmanager
def listening(*options: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """`longrun webhooks listen --json` in a process of its own, and its first line."""
    code = "from longrun.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "webhooks", "listen", "--json", *options],
        env=os.environ | environment,
        stdout=-1,
        stderr=-1,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield process, json.loads(line)
    finally:
        process.kill()
        process.communicate(timeout=20)


def visit(client: Client) -> None:
    """Registers the listener and ends that at once."""
    with registered(client, Output.standard(machine=False), LISTENER, None):
        pass


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return int(unused.getsockname()[1])


def test_setting_an_endpoint_writes_the_secret_alone(service: ScriptedService, run: Run) -> None:
    service.on("PUT /webhook", endpoint_view(secret=SECRET), endpoint_view(secret=None), endpoint_view(secret=SECRET))
    done = run("webhooks", "set", URL)
    assert (done.exit_code, done.stdout) == (0, f"{SECRET}\n")
    assert "keep this secret" in done.stderr
    done = run("webhooks", "set", URL)
    assert (done.exit_code, done.stdout) == (0, "")
    assert "longrun webhooks rotate" in done.stderr
    assert json.loads(run("webhooks", "set", URL, "--json").stdout)["secret"] == SECRET


def test_an_endpoint_is_shown_with_its_troubles(service: ScriptedService, run: Run) -> None:
    why: dict[str, Any] = {
        "disabled_at": "2026-02-05T12:00:00Z",
        "disabled_reason": "It answered 410 Gone.",
        "enabled": False,
    }
    none = endpoint_view(None, secrets=[])
    service.on("GET /webhook", endpoint_view(), endpoint_view(**why), none, none)
    assert "enabled" in run("webhooks", "show").stdout
    done = run("webhooks", "show")
    assert "disabled" in done.stdout
    assert "It answered 410 Gone." in done.stdout
    assert f"longrun webhooks set {URL}" in done.stderr
    done = run("webhooks", "show")
    assert done.stdout.split() == ["endpoint", "none"]
    assert json.loads(run("webhooks", "show", "--json").stdout) == none


def test_an_endpoint_is_removed(service: ScriptedService, run: Run) -> None:
    service.on("DELETE /webhook", Reply(204))
    assert (run("webhooks", "remove").exit_code, run("webhooks", "remove", "--json").exit_code) == (0, 0)


def test_a_secret_is_rotated_with_an_overlap(service: ScriptedService, run: Run) -> None:
    old = {"created_at": "2026-01-30T12:00:00Z", "signs_until": "2026-02-01T12:00:00Z"}
    secrets = [*endpoint_view()["secrets"], old]
    service.on("POST /webhook/rotate", endpoint_view(secret=SECRET, secrets=secrets))
    done = run("webhooks", "rotate", "--overlap", "24h")
    assert (done.exit_code, done.stdout) == (0, f"{SECRET}\n")
    assert "until 2026-02-01 12:00:00Z" in done.stderr
    run("webhooks", "rotate")
    run("webhooks", "rotate", "--overlap", "0")
    assert [sent.json for sent in service.seen] == [{"overlap_seconds": 86_400}, {}, {"overlap_seconds": 0}]
    for wrong in ("8d", "soon", "-1", "1.5h", "604801"):
        assert run("webhooks", "rotate", f"--overlap={wrong}").exit_code == 2
    assert len(service.seen) == 3


def test_lengths_of_time_have_units() -> None:
    assert [seconds_of(text) for text in ("0", "90", "90s", "15m", "24h", "7d")] == [0, 90, 90, 900, 86_400, 604_800]


def test_deliveries_are_a_row_for_each_try(service: ScriptedService, run: Run) -> None:
    tries = delivery_view()["tries"]
    lost = tries[0] | {"status": None, "error": "TimedOut: It took\nlonger than 15 s.\x1b[2J", "answer": None}
    exhausted = delivery_view(tries=[*tries, lost], tried=12)
    more = {"status": "pending", "next_try_at": "2026-01-31T12:05:00Z", "reason": None, "to": "callback", "url": URL}
    pending = delivery_view(id="msg_2", **more)
    service.on("GET /jobs/j1/deliveries", {"deliveries": [exhausted, pending]})
    rows = run("webhooks", "deliveries", "j1").stdout.splitlines()
    assert rows[0].split() == ["ID", "TYPE", "TO", "STATUS", "TRY", "AT", "TOOK", "ANSWER"]
    first = ["msg_1", "job.completed", "endpoint", "exhausted", "11", "2026-01-31", "12:00:00Z", "0.25", "s", "500"]
    assert rows[1].split() == first
    assert rows[2].split()[0] == "12"
    assert rows[2].rstrip().endswith("TimedOut: It took longer than 15 s.\ufffd[2J")
    assert rows[3].strip() == "All 10 tries failed."
    assert rows[5].split() == ["next", "2026-01-31", "12:05:00Z"]
    found = json.loads(run("webhooks", "deliveries", "j1", "--json").stdout)
    assert found == {"deliveries": [exhausted, pending]}
    assert run("webhooks", "deliveries", "j2").exit_code == 4


def test_the_undelivered_are_listed(service: ScriptedService, run: Run) -> None:
    service.on("GET /webhook/undelivered", {"deliveries": [delivery_view()], "next_cursor": None})
    assert "All 10 tries failed." in run("webhooks", "undelivered").stdout
    assert json.loads(run("webhooks", "undelivered", "--json").stdout) == {"deliveries": [delivery_view()]}


def test_one_is_redelivered_or_what_was_given_up_of_a_job(service: ScriptedService, run: Run) -> None:
    found = [delivery_view(), delivery_view(id="msg_2", status="delivered"), delivery_view(id="msg_3")]
    service.on("GET /jobs/j1/deliveries", {"deliveries": found})
    for name in ("msg_1", "msg_2"):
        again = Reply(202, delivery_view(id=name, status="pending"))
        service.on(f"POST /jobs/j1/deliveries/{name}/redeliver", again)
    trying = problem(409, "Conflict", detail="It is being tried at this moment; ask again.")
    service.on("POST /jobs/j1/deliveries/msg_3/redeliver", trying)
    assert "1 to be tried again" in run("webhooks", "redeliver", "j1", "msg_2").stderr
    done = run("webhooks", "redeliver", "j1")
    assert done.exit_code == 0
    assert "msg_3: " in done.stderr
    assert "1 to be tried again" in done.stderr
    assert len(service.asked("POST /jobs/j1/deliveries/msg_2/redeliver")) == 1, "it had been delivered"
    begun = json.loads(run("webhooks", "redeliver", "j1", "--json").stdout)["deliveries"]
    assert [each["id"] for each in begun] == ["msg_1"]
    assert run("webhooks", "redeliver", "j1", "msg_3").exit_code == 2


def test_all_that_was_given_up_is_redelivered(service: ScriptedService, run: Run) -> None:
    given_up = [delivery_view(job=f"j{number}") for number in range(3)]
    service.on("GET /webhook/undelivered", {"deliveries": given_up, "next_cursor": None})
    for each in given_up[:2]:  # the third one was forgotten meanwhile
        service.on(f"POST /jobs/{each['job']}/deliveries/msg_1/redeliver", Reply(202, each | {"status": "pending"}))
    done = run("webhooks", "redeliver", "--all")
    assert (done.exit_code, "2 to be tried again" in done.stderr) == (0, True)
    assert [run("webhooks", "redeliver", *wrong).exit_code for wrong in ([], ["j1", "--all"])] == [2, 2]


def test_the_receiver_takes_what_its_secret_verifies() -> None:
    other = f"whsec_{base64.b64encode(bytes(32)).decode()}"
    with Receiver(0).listening() as receiver:
        receiver.verify_with(f"{SECRET}\n")
        url, messages = receiver.url, receiver.messages()
        assert post(url) == 204
        assert post(url) == 204
        assert post(url, name="msg_2", besides="v1,AAAA ") == 204, "one of several is enough"
        seen = [next(messages) for _ in range(3)]
        assert [(each.verified, each.id, each.number) for each in seen] == [
            (True, "msg_1", 1),
            (True, "msg_1", 2),
            (True, "msg_2", 1),
        ]
        assert (seen[0].type, seen[0].job, seen[0].status) == ("job.completed", "j1", "completed")
        assert post(url, secret=other, name="msg_3") == 401
        assert next(messages).error == "No matching signature found"
        assert post(url, age=timedelta(hours=1)) == 401
        assert next(messages).error == "Message timestamp too old"


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"webhook-signature": "nonsense"}},
        {"headers": {"webhook-signature": "v1,%%%"}},
        {"headers": {"webhook-timestamp": "soon"}},
        {"headers": {"webhook-id": "another"}},
        {"body": b"\xff\xfe"},
        {"body": b"[" * 100_000, "headers": {"webhook-signature": "v1,AAAA"}},
    ],
)
def test_the_receiver_takes_nothing_else(options: dict[str, Any]) -> None:
    with Receiver(0).listening() as receiver:
        receiver.verify_with(SECRET)
        assert post(receiver.url, **options) == 401
        received = next(receiver.messages())
        assert not received.verified
        assert received_text(received).plain.startswith("✗ ")
        assert httpx.post(receiver.url, content=b"x" * (MAX_BODY + 1)).status_code == 413
        assert httpx.post(receiver.url).status_code == 401
        assert httpx.get(receiver.url).status_code == 501


def test_the_receiver_fails_as_often_as_it_is_told_to() -> None:
    with Receiver(0, failing=2).listening() as receiver:
        receiver.verify_with(SECRET)
        assert [post(receiver.url) for _ in range(3)] == [500, 500, 204]
        assert post(receiver.url, name="msg_2") == 500


def test_what_came_steers_no_terminal() -> None:
    receiver = Receiver(0)
    receiver.verify_with(SECRET)
    body = json.dumps({"type": "\x1b[2J" + "x" * 1000, "data": []}).encode()
    shown = received_text(receiver.judge({"webhook-id": "[red]"}, body)).plain
    assert "\x1b" not in shown
    assert "[red]" in shown or len(shown) < 300


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_?", "secret"])
def test_what_is_no_secret_is_wrong_usage(run: Run, secret: str) -> None:
    done = run("webhooks", "listen", "--port", "0", "--secret", secret)
    assert done.exit_code == 2
    with pytest.raises(InvalidInput):
        Receiver(0).verify_with(secret)


def test_a_secret_or_a_registration_is_needed_and_a_free_port(run: Run) -> None:
    assert "--register" in run("webhooks", "listen").stderr
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("webhooks", "listen", "--secret", SECRET, "--port", port)
    assert (done.exit_code, f"port {port}" in done.stderr) == (2, True)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_it_listens_registered_until_a_signal_ends_it(service: ScriptedService, number: int, code: int) -> None:
    port = free_port()
    here = endpoint_view(f"http://127.0.0.1:{port}/", secret=SECRET)
    service.on("GET /webhook", endpoint_view(), here)
    service.on("PUT /webhook", here, endpoint_view())
    environment = {"LONGRUN_URL": service.url, "LONGRUN_WEBHOOK_SECRET": ""}
    with listening("--register", "--port", str(port), **environment) as (process, first):
        assert first == {"listening": f"http://127.0.0.1:{port}/", "secret": SECRET}
        assert post(first["listening"]) == 204
        assert post(first["listening"], age=timedelta(hours=1)) == 401
        assert process.stdout is not None
        came = [json.loads(process.stdout.readline()) for _ in range(2)]
        shown = {"verified": True, "error": None, "answered": 204, "id": "msg_1", "type": "job.completed", "job": "j1"}
        assert came[0] == shown | {"status": "completed", "try": 1, "message": MESSAGE}
        assert (came[1]["verified"], came[1]["try"]) == (False, 2)
        process.send_signal(number)
        assert process.wait(20) == code
    assert [sent.json["url"] for sent in service.asked("PUT /webhook")] == [first["listening"], URL]


def test_a_registration_ends_with_what_was_there(service: ScriptedService) -> None:
    output = Output.standard(machine=True)
    service.on("DELETE /webhook", Reply(204))
    service.on("POST /webhook/rotate", endpoint_view(LISTENER, secret=SECRET))
    service.on("PUT /webhook", endpoint_view(LISTENER, secret=None))
    with Client(service.url) as client:
        service.on("GET /webhook", endpoint_view(None), endpoint_view(LISTENER))
        with registered(client, output, LISTENER, None) as secret:
            assert secret == SECRET
        assert len(service.asked("DELETE /webhook")) == 1
        assert service.asked("POST /webhook/rotate")[0].json == {"overlap_seconds": 60}

        service.on("GET /webhook", endpoint_view(URL), endpoint_view(LISTENER))
        with registered(client, output, LISTENER, None):
            pass
        assert service.asked("PUT /webhook")[-1].json == {"url": URL}
        assert service.asked("POST /webhook/rotate")[1].json == {"overlap_seconds": 86_400}, "somebody has the old one"

        service.on("GET /webhook", endpoint_view(URL), endpoint_view("https://new.example.com/"))
        asked = len(service.asked("PUT /webhook"))
        with registered(client, output, LISTENER, SECRET) as secret:
            assert secret == SECRET
        assert len(service.asked("PUT /webhook")) == asked + 1, "what somebody else has set meanwhile stays"
        assert len(service.asked("POST /webhook/rotate")) == 2, "the secret was given"


def test_a_deployment_refuses_to_call_this_machine(service: ScriptedService, run: Run) -> None:
    errors = [{"loc": ["url"], "msg": "Only https addresses are called."}]
    service.on("GET /webhook", endpoint_view(URL))
    service.on("PUT /webhook", problem(422, "Invalid", detail="The request is not valid.", errors=errors))
    done = run("webhooks", "listen", "--register", "--port", "0")
    assert done.exit_code == 2
    assert "url: Only https addresses are called." in done.stderr
    assert "open a tunnel" in done.stderr
    hint = error_of(run("webhooks", "listen", "--register", "--port", "0", "--json"))["hint"]
    assert "longrun webhooks set" in hint
    with Client(service.url) as client, pytest.raises(InvalidRequest):
        visit(client)
    assert len(service.asked("PUT /webhook")) == 3, "what was there is still there"


def test_too_many_secrets_are_told_with_the_way_out(service: ScriptedService) -> None:
    service.on("GET /webhook", endpoint_view(None), endpoint_view(LISTENER))
    service.on("PUT /webhook", endpoint_view(LISTENER, secret=None))
    service.on("DELETE /webhook", Reply(204))
    service.on("POST /webhook/rotate", problem(409, "Conflict", detail="4 secrets sign already"))
    with Client(service.url) as client, pytest.raises(Conflict) as caught:
        visit(client)
    assert "--overlap 0" in caught.value.__notes__[0]
    assert len(service.asked("DELETE /webhook")) == 1


def test_an_endpoint_that_could_not_be_put_back_is_told(
    service: ScriptedService, capsys: pytest.CaptureFixture[str]
) -> None:
    service.on("GET /webhook", endpoint_view(URL), problem(500, "Broken"))
    service.on("PUT /webhook", endpoint_view(LISTENER, secret=SECRET))
    with Client(service.url, sleep=lambda seconds: None) as client:
        visit(client)
    assert f"longrun webhooks set {URL}" in capsys.readouterr().err


def test_the_readme_s_python_verifies(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = [block.partition("```")[0] for block in README.split("```python\n")[1:]]
    [code] = [block for block in blocks if "standardwebhooks" in block]
    monkeypatch.setenv("LONGRUN_WEBHOOK_SECRET", SECRET)
    known: dict[str, Any] = {}
    exec(code, known)
    at, body = datetime.now(UTC), json.dumps(MESSAGE).encode()
    headers = {
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": str(int(at.timestamp())),
        "Webhook-Signature": Webhook(SECRET).sign("msg_1", at, body.decode()),
    }
    known["received"](body, headers)
    assert capsys.readouterr().out == "job.completed j1 the end\n"
    with pytest.raises(known["WebhookVerificationError"]):
        known["received"](body + b" ", headers)
