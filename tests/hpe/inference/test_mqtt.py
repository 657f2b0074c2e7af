"""Frames to an MQTT broker (a made-up one): what arrives, what is said where it is away, and that nothing waits."""

import json
import socket
from types import SimpleNamespace

import pytest

from hpe.cli.main import main
from hpe.inference import mqtt
from hpe.inference.mqtt import Broker, MqttError, MqttSink, parse_broker
from tests.drawn_faces import MODEL, video
from tests.hpe.inference.frames import seen
from tests.mqtt_broker import FakeBroker

pytest.importorskip("paho.mqtt")


@pytest.fixture
def broker():
    with FakeBroker() as running:
        yield running


def test_the_address_of_a_broker(monkeypatch):
    assert parse_broker("mqtt://house/desk/head") == Broker("house", 1883, "desk/head")
    assert parse_broker("mqtts://me:a%40b@house:99/t") == Broker("house", 99, "t", True, "me", "a@b")
    monkeypatch.setenv("HPE_MQTT_PASSWORD", "secret")
    assert parse_broker("mqtt://me@house/t").password == "secret"
    assert parse_broker("mqtt://house/t").password is None
    for bad in (
        "house/t",
        "http://house/t",
        "mqtt://house",
        "mqtt:///t",
        "mqtt://house:no/t",
        "mqtt://house/+/t",
        "mqtt://[::1/t",
    ):
        with pytest.raises(MqttError, match="give mqtt://"):
            parse_broker(bad)
    for bad in ("mqtt://me:secret@house", "mqtt://me:secret@[::1/t"):
        with pytest.raises(MqttError) as caught:
            parse_broker(bad)
        assert "secret" not in str(caught.value)


def test_each_frame_is_one_message_with_all_its_faces(broker):
    with MqttSink(Broker("127.0.0.1", broker.port, "desk/head", user="me", password="x")) as sink:
        for frame in range(3):
            sink(seen(frame, faces=2))
    broker.wait_for(lambda: len(broker.messages) == 3)
    topic, message = broker.messages[2]
    assert topic == "desk/head"
    assert [face["face"] for face in message["faces"]] == [0, 1]
    assert [face["yaw_deg"] for face in message["faces"]] == [2, 12]
    assert (message["frame"], message["source"], message["rates"].keys()) == (
        2,
        "camera 0",
        {"camera", "detector", "network"},
    )
    assert b"me" in broker.connects[0]


def test_a_broker_that_is_away_or_refuses_is_one_message(broker):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with (
        pytest.raises(MqttError, match=rf"127\.0\.0\.1:{port} cannot be reached \(Connection refused\)"),
        MqttSink(Broker("127.0.0.1", port, "t")),
    ):
        pass
    broker.code = 5
    with (
        pytest.raises(MqttError, match=r"refuses: Not authorized; .*USER:PASSWORD"),
        MqttSink(Broker("127.0.0.1", broker.port, "t")),
    ):
        pass


def test_a_lost_connection_is_told_and_taken_up_again(broker):
    said = []
    with MqttSink(Broker("127.0.0.1", broker.port, "t"), said.append) as sink:
        sink(seen(0))
        broker.wait_for(lambda: len(broker.messages) == 1)
        broker.drop()
        broker.wait_for(lambda: len(broker.connects) == 2)
        frame = 1
        while len(broker.messages) < 2:  # what comes in between is dropped
            sink(seen(frame))
            frame += 1
            with broker.changed:
                broker.changed.wait(0.05)
    assert [line.split("(")[0].split(" ", 3)[3].strip() for line in said] == ["is gone", "is back"]
    assert broker.messages[1][1]["frame"] > 0


def test_a_slow_broker_holds_up_nobody(monkeypatch, broker):
    """A client that never gets a message out: a limited number is kept for it."""
    with MqttSink(Broker("127.0.0.1", broker.port, "t")) as sink:
        sent = []
        stuck = SimpleNamespace(rc=0, is_published=lambda: False)
        monkeypatch.setattr(sink._client, "publish", lambda *given: sent.append(given) or stuck)
        for frame in range(5 * mqtt.UNSENT):
            sink(seen(frame))
        assert len(sent) == mqtt.UNSENT
        stuck.is_published = lambda: True
        sink(seen(1))
        assert len(sent) == mqtt.UNSENT + 1


def test_predict_publishes_a_video_and_prints_nothing_when_quiet(broker, tmp_path, capsys):
    pytest.importorskip("cv2")
    url = f"mqtt://127.0.0.1:{broker.port}/desk/head"
    main(
        ["predict", str(video(tmp_path / "v.avi", 4)), "--model", str(MODEL), "--mqtt", url, "--jsonl", "-", "--quiet"]
    )
    output = capsys.readouterr()
    rows = [json.loads(line) for line in output.out.splitlines()]
    assert output.err == ""
    broker.wait_for(lambda: len(broker.messages) == 4)
    for row, (_, message) in zip(rows, broker.messages, strict=True):
        (face,) = message["faces"]
        assert {**row, **face} == row  # the same numbers
        assert message["time_s"] == row["time_s"]
