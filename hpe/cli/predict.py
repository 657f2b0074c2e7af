"""`hpe predict`: where poses come from, and everywhere they go."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from signal import SIGINT
from typing import Annotated, Any, Literal

from tyro.conf import FlagCreatePairsOff, Positional, arg

from hpe.cli.output import Json, say_aside, write_result


def predict(
    sources: Positional[Annotated[tuple[Path, ...], arg(metavar="[PICTURE|FOLDER|VIDEO ...]")]] = (),
    model: Annotated[str | None, arg(metavar="MODEL")] = None,
    camera: Annotated[str | None, arg(metavar="N|URL|pi")] = None,
    box: Annotated[str | None, arg(metavar="X,Y,W,H")] = None,
    boxes: Annotated[Path | None, arg(metavar="CSV")] = None,
    box_kind: Literal["landmarks", "detector"] = "landmarks",
    crops: Annotated[bool, FlagCreatePairsOff] = False,
    draw: Annotated[Path | None, arg(metavar="DIR")] = None,
    smooth: bool = True,
    frames: Annotated[int | None, arg(metavar="N")] = None,
    reference: Annotated[bool, FlagCreatePairsOff] = False,
    csv: Annotated[Path | None, arg(metavar="FILE")] = None,
    jsonl: Annotated[Path | None, arg(metavar="FILE")] = None,
    json: Json = None,
    serve: Annotated[str | None, arg(metavar="[HOST]:PORT")] = None,
    mqtt: Annotated[str | None, arg(metavar="URL")] = None,
    neutral: Annotated[str | None, arg(metavar="SECONDS|CSV")] = None,
    quiet: Annotated[bool, FlagCreatePairsOff] = False,
) -> None:
    """Estimate the head pose of every face in pictures, videos or before a camera. Example: hpe predict selfie.jpg

    Exit code 1 where some of the sources or boxes gave no pose, 2 where none did. Faces are found with OpenCV (the
    extra `vision`), unless --box, --boxes or --crops says where they are.

    Args:
        sources: Pictures, videos, and folders of them; of a folder its hidden files and its subfolders do not count.
        model: The name of a released model (see hpe models), a .onnx or .tflite file, or a run folder. Left out: the
            default model.
        camera: Look through this camera until Ctrl-C: a number (0 is the first), an rtsp:// or http:// address, opened
            again when it fails, or pi, a Raspberry Pi's own (Picamera2).
        box: The face in every picture, in pixels: left, top, width, height of the box around its landmarks. It may be
            rough for a model that says where the face is: that corrects it, and looks twice.
        boxes: Face boxes by picture: a CSV with the columns file, x, y, w, h.
        box_kind: What these boxes are: landmarks, from the brows to the chin and as wide as the jaw, as around the 68
            landmarks; or detector, from the forehead to the chin, as face detectors give them, which is mapped to that.
        crops: The pictures are face crops already (hpe data preview shows such); the border of which a dataset.json
            above them tells is cut off.
        draw: Write pictures (.png) and videos (.mp4 with H.264 if OpenCV can, else .webm) with boxes, axes and angles
            into this folder. Nothing that is there is overwritten but pictures that an earlier call drew; another name
            is chosen and told.
        smooth: Filter the poses of a video over time (One Euro).
        frames: End each video, or the camera, after N frames.
        reference: Compute a .tflite with TensorFlow Lite's reference kernels, slowly: their int8 output is a board's,
            to the bit. The sketch of hpe deploy prints it before its last rounding, as hpe evaluate --engine c-fine.
        csv: Write a row for each face here as it is found, with the milliseconds that finding it and the model took;
            - is standard output.
        jsonl: Write the same as a JSON object per line.
        json: Write the same here at the end, and the sources that gave no pose.
        serve: Show the picture, poses and rates on a web page while a video or camera is looked at. :8080 is for this
            machine alone, 0.0.0.0:8080 for everyone in the network. A video then plays at its own speed.
        mqtt: Publish a JSON message per frame: mqtt://[USER:PASSWORD@]HOST[:PORT]/TOPIC (the extra `mqtt`).
        neutral: Tell poses relative to a neutral look: that of each face in its first SECONDS, or the mean of a CSV of
            an earlier call in which someone looked so.
        quiet: Print nothing but what goes wrong; LiteRT's own line (INFO: Created ...) goes to standard error all the
            same.
    """
    from hpe.inference.app import PredictOptions, checked_sources, predict_sources
    from hpe.inference.cameras import parse_camera
    from hpe.inference.found import as_detected
    from hpe.inference.neutral import NeutralLooks, parse_neutral
    from hpe.inference.outputs import STANDARD_OUTPUT, RowFile, check_distinct, check_json, print_line
    from hpe.inference.sources import parse_box, read_boxes
    from hpe.io.errors import require

    places_given = (box is not None, boxes is not None, crops)
    require(sum(places_given) <= 1, "--box, --boxes and --crops each say where the faces are: give one of them")
    places = read_boxes(boxes) if boxes is not None else None
    if box is not None:
        places = {"": [parse_box(box)]}
    require(
        places is not None or box_kind == "landmarks", "--box-kind says what --box or --boxes are: give one of them"
    )
    if places is not None and box_kind == "detector":
        places = {name: [as_detected(place) for place in given] for name, given in places.items()}
    looks = parse_neutral(neutral) if neutral is not None else NeutralLooks() if serve is not None else None
    options = PredictOptions(places, crops, smooth, draw, frames, reference, serve is not None, looks)
    seen_by = checked_sources([*sources, *([] if camera is None else [parse_camera(camera)])], options)
    read = (boxes, Path(model) if model else None, Path(neutral) if neutral and Path(neutral).exists() else None)
    given = [path for path in (*seen_by, *read) if isinstance(path, Path)]
    check_distinct({"--csv": csv, "--jsonl": jsonl, "--json": json}, given)
    check_json(json)
    report = (lambda line: None) if quiet else say_aside if STANDARD_OUTPUT in (csv, jsonl) else print_line
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        writers = [] if json is None else [rows.append]
        for path, as_json in ((csv, False), (jsonl, True)):
            if path is not None:
                writers.append(stack.enter_context(RowFile(path, as_json)).write)
        again = looks.again if looks is not None else None
        sinks = [stack.enter_context(sink) for sink in _live_sinks(serve, mqtt, again, report)]
        outcome = predict_sources(model, seen_by, options, lambda row: [write(row) for write in writers], report, sinks)
        for fault in outcome.faults:
            say_aside(f"hpe: {fault}")
        write_result(json, {"faces": rows, "faults": outcome.faults})
    if outcome.stopped_by and (camera is None or outcome.stopped_by != SIGINT):  # Ctrl-C is how a camera ends
        sys.exit(128 + outcome.stopped_by)
    if outcome.faults:
        sys.exit(1 if outcome.rows else 2)


def _live_sinks(
    serve: str | None, mqtt: str | None, again: Callable[[], object] | None, report: Callable[[str], object]
) -> Iterator[Any]:
    """The outputs over the network that were asked for: each a context manager that takes every frame."""
    if serve is not None:
        from hpe.inference.live.server import LivePage

        page = LivePage(serve, again)
        report(f"live page: {page.url}")
        yield page
    if mqtt is not None:
        from hpe.inference.mqtt import MqttSink, parse_broker

        yield MqttSink(parse_broker(mqtt), say_aside)
