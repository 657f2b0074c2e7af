"""A study that nobody ran: plan and results as `hpe study run` writes them, from formulas and a seeded generator."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from hpe.io.configs import to_dict
from hpe.io.files import write_json
from hpe.model.lineage import Lineage

SPEC = "csv:faces@test"
FACES = 60
ENVIRONMENT = {"processor": "Some CPU", "cores": 2, "python": "3.12.1", "commit": "abcdef1234", "torch": "2.15.0"}
SIZES = {"fp32": 4.0, "sparse": 2.5, "dynamic": 1.1, "int8": 1.0}
"""Of a file, relative to the int8 one."""


def planned(row: str, seed: int, family: str, role: str = "row", **more: Any) -> dict[str, Any]:
    """An entry of a plan."""
    part = {"row": row, "family": family, "role": role, "seed": seed, "twin": None, "labels": {}, "reference": None}
    return {"id": hashlib.sha256(f"{row} {seed}".encode()).hexdigest()[:10], **part, **more}


def magnitude(row: str, lines: list[int], seeds: tuple[int, ...] = (0,), **labels: Any) -> list[dict[str, Any]]:
    """A masked row in its seeds that repeats published ones."""
    reference = {"file": "tencon2022_grid.csv", "line": lines}
    return [planned(row, seed, "magnitude", labels=labels, reference=reference) for seed in seeds]


def plan() -> list[dict[str, Any]]:
    """A baseline, masked rows (some in three seeds), twins, and controls."""
    runs = [planned("dense", seed, "dense", "baseline") for seed in (0, 1, 2)]
    runs += magnitude("poly 50 0-60", [7], (0, 1, 2), schedule="polynomial", final_sparsity=0.5)
    runs += magnitude("poly 50 0-80", [1, 11], (0, 1, 2), schedule="polynomial", final_sparsity=0.5)
    runs += magnitude("const 50 0-80", [30], (0, 1, 2), schedule="constant", final_sparsity=0.5)
    runs += magnitude("poly 50 20-80", [2, 12], schedule="polynomial", final_sparsity=0.5)
    runs += magnitude("poly 50 40-80", [3, 13], schedule="polynomial", final_sparsity=0.5)
    runs += magnitude("poly 75 0-80", [15], (0, 1), schedule="polynomial", final_sparsity=0.75)
    runs += magnitude("const 75 0-80", [28], schedule="constant", final_sparsity=0.75)
    runs += magnitude("poly 50-75 0-80", [26], schedule="polynomial", final_sparsity=0.75)
    runs += magnitude("poly 88 0-80", [22], (0, 1, 2), schedule="polynomial", final_sparsity=0.875)
    runs += magnitude("const 88 0-80", [29], schedule="constant", final_sparsity=0.875)
    runs += magnitude("poly 75-88 0-80", [24], schedule="polynomial", final_sparsity=0.875)
    for share, of in (("50", "poly 50 0-60"), ("75", "poly 75 0-80"), ("88", "poly 88 0-80")):
        for equal in ("int8_gzip_bytes", "macs"):
            name = f"twin {share} {equal.split('_')[0]}"
            runs += [planned(name, s, "channel", "twin", twin={"of": of, "equal": equal}) for s in (0, 1, 2)]
    runs += [planned("random masks 75", 0, "magnitude", "control", against="poly 75 0-80")]
    runs += [planned("narrow 75", 0, "dense", "control", twin={"of": "poly 75 0-80", "equal": "int8_gzip_bytes"})]
    return runs


COST = {"50": 0.6, "75": 0.36, "88": 0.22}
"""Bytes after gzip, relative to the dense network's."""


def result(entry: dict[str, Any], truth: np.ndarray) -> dict[str, Any]:
    """What a complete run's result.json holds; error and size by family and share, noise by row and seed."""
    generator = np.random.default_rng(int(entry["id"], 16))
    row, family = entry["row"], entry["family"]
    share = COST[found] if (found := next((s for s in reversed(COST) if f"{s} " in f"{row} "), None)) else 1.0
    channel = family == "channel" or row.startswith("narrow")
    error = 3.0 + 0.9 * (1 - share) ** 2 + (0.25 if entry["role"] == "control" else 0) + (0.08 if channel else 0)
    hard = np.abs(truth).mean(axis=1, keepdims=True) / 20 + 0.5  # the same faces are hard for all
    common = np.random.default_rng(1).normal(size=truth.shape)
    level = 1.2 * error + generator.normal() * 0.04
    noise = (0.97 * common + 0.24 * generator.normal(size=truth.shape)) * hard * level
    int8 = round(4_860_000 * (share if channel else 1))
    macs = round(31_970_000 * (share if channel else 1))
    share *= 1 + 0.04 * (int(hashlib.sha256(row.encode()).hexdigest(), 16) % 7 - 3)  # no two rows weigh the same
    sizes = {f"model_{k}.tflite": round(int8 * f) for k, f in SIZES.items()}
    files = {n: {"size_bytes": b, "gzip_bytes": round(b * 0.83 * (1 if channel else share))} for n, b in sizes.items()}
    scale = {"model.safetensors": 1.0, "model_fp32.tflite": 1.0, "model_sparse.tflite": 1.0,
             "model_dynamic.tflite": 1.005, "model_int8.tflite": 1.01}  # fmt: skip
    poses = {name: np.round(truth + noise * factor, 2) for name, factor in scale.items()}
    evaluations = {}
    for name, predicted in poses.items():
        angles = dict(zip(("yaw", "pitch", "roll"), np.abs(predicted - truth).mean(axis=0).tolist(), strict=True))
        mae = angles | {"mean": float(np.abs(predicted - truth).mean())}
        evaluations[f"{name} on {SPEC}"] = {"file": name, "data": SPEC, "mae_deg": mae, "n": FACES}
        easier = {angle: 0.8 * deg + 0.02 * generator.normal() for angle, deg in mae.items()}
        evaluations[f"{name} on csv:faces@val"] = {"file": name, "data": "csv:faces@val", "mae_deg": easier, "n": 99}
    lineage = Lineage(family, None if channel or family == "dense" else 1 - share)
    return {
        "id": entry["id"],
        "config": {"command": "prune", "data": "csv:faces@train", "val": "csv:faces@val", "lineage": to_dict(lineage)},
        "params": round(4_011_391 * (share if channel else 1)),
        "nonzeros": round(4_011_391 * share),
        "macs": macs,
        "nonzero_macs": macs if channel else round(macs * share),
        "files": files,
        "evaluations": evaluations,
        "latency": {"model_int8.tflite": {"median_ms": 0.4 + macs / 3e7, "valid": True}},
        "environment": ENVIRONMENT,
        "footprint": footprint(int8, macs, share, channel),
        "predictions": {n: {"data": SPEC, "poses_deg": p.tolist()} for n, p in poses.items()},
        "truth": {"data": SPEC, "poses_deg": truth.tolist()},
        "study": {key: value for key, value in entry.items() if key != "id"},
    }


def footprint(int8: int, macs: int, share: float, channel: bool) -> dict[str, Any]:
    """Two boards and two engines; on one of them cycles were not found out."""
    flash = round(int8 * (1 if channel else share)) // 4 + 60_000
    cycles = macs * (1.9 if channel else 1.9 * share + 0.4)
    c = {"flash_bytes": flash, "ram_bytes": 60_000 + macs // 400, "cycles": cycles, "ms": cycles / 64e3}
    c |= {"fits": flash < 983_040, "source": "counted"}
    flash = int8 // 4 + 170_000
    tflm = {"flash_bytes": flash, "ram_bytes": 160_000 + macs // 400, "cycles": None, "ms": macs * 5.5 / 64e3}
    tflm |= {"fits": flash < 983_040, "source": "estimated"}
    return {"nano33ble": {"c": c, "tflm": tflm}, "rp2040": {"tflm": tflm | {"ms": macs * 20 / 133e3}}}


def write_study(folder: Path, missing: tuple[str, ...] = ("poly 75-88 0-80",), failed: str = "const 88 0-80") -> Path:
    """A study folder: every planned run is complete, but for rows that are missing or failed."""
    runs = plan()
    title = "Unstructured and structured pruning, made up"
    write_json(folder / "plan.json", {"name": "made-up", "title": title, "commit": "abcdef1234", "runs": runs})
    truth = np.round(np.random.default_rng(0).normal(0, 15, size=(FACES, 3)), 2)
    for entry in runs:
        if entry["row"] == failed:
            (folder / "failed").mkdir(exist_ok=True)
            (folder / "failed" / f"{entry['id']}.log").write_text("out of memory\n")
        elif entry["row"] not in missing:
            write_json(folder / "runs" / entry["id"] / "result.json", result(entry, truth))
    return folder
