"""How well FSA-Net, trained on photographs, reads the pose of synthetic heads.

    python benchmarks/synthetic_realism.py peers

FSA-Net (see fsa_net.py) never saw a render, so its correlation and error against the exact labels say how like a
photograph of that pose a render is. Protocol: the standard crop (k = 0.2), mean absolute error per angle, no wrapping
needed below 99 degrees.
"""

import platform
from datetime import date
from pathlib import Path

import numpy as np
import tyro
from fsa_net import load_fsa_net

from hpe.io.environment import commit
from hpe.io.files import write_csv
from hpe.synthetic import render

ANGLES = ("yaw", "pitch", "roll")
BARS = {"correlation": (0.95, 0.85, 0.88), "mae_deg": (6.0, 6.5, 4.5)}
"""What clean renders must reach."""


def compare(label_deg: np.ndarray, read_deg: np.ndarray) -> list[dict]:
    """One row per angle: correlation, mean absolute error, bias, and the line that maps labels to readings."""
    rows = []
    for k, angle in enumerate(ANGLES):
        error = read_deg[:, k] - label_deg[:, k]
        slope, intercept = np.polyfit(label_deg[:, k], read_deg[:, k], 1)
        rows.append(
            {
                "angle": angle,
                "correlation": round(float(np.corrcoef(label_deg[:, k], read_deg[:, k])[0, 1]), 3),
                "mae_deg": round(float(np.abs(error).mean()), 2),
                "error_sd_deg": round(float(error.std()), 2),
                "bias_deg": round(float(error.mean()), 2),
                "slope": round(float(slope), 2),
                "reading_at_zero_deg": round(float(intercept), 2),
            }
        )
    return rows


def contact_sheet(images: np.ndarray, columns: int, path: Path) -> None:
    """Write the images (N, h, w, 3) as one picture, twice as large."""
    from PIL import Image

    height, width = images.shape[1:3]
    rows = len(images) // columns
    grid = images[: rows * columns].reshape(rows, columns, height, width, 3).transpose(0, 2, 1, 3, 4)
    sheet = Image.fromarray(grid.reshape(rows * height, columns * width, 3))
    sheet.resize((sheet.width * 2, sheet.height * 2), Image.Resampling.BICUBIC).save(path)


def main(
    peers: tyro.conf.Positional[Path],
    count: int = 512,
    seeds: tuple[int, ...] = (0, 1, 2),
    out: Path = Path("benchmarks/results"),
    sheet: Path | None = None,
) -> None:
    """Read clean, full and easy renders with FSA-Net; write a CSV, and fail where clean ones miss the bars.

    Args:
        peers: folder with fsanet-1x1-iter-688590.onnx and fsanet-var-iter-688590.onnx
        count: renders per preset and seed
        seeds: seeds of the renders
        out: folder of the CSV
        sheet: also write a contact sheet of clean and full renders to this PNG
    """
    read = load_fsa_net(peers)
    rows, missed = [], []
    for preset in ("clean", "full", "easy"):
        for seed in seeds:
            images, label_deg = render(range(count), seed, preset)
            for row in compare(label_deg, read(images)):
                rows.append({"preset": preset, "seed": seed, "n": count, **row, "commit": commit()})
                print("  ".join(f"{name} {value}" for name, value in rows[-1].items() if name != "commit"))
                k = ANGLES.index(row["angle"])
                if preset == "clean" and (
                    row["correlation"] < BARS["correlation"][k] or row["mae_deg"] > BARS["mae_deg"][k]
                ):
                    missed.append(f"{row['angle']} (seed {seed})")
    path = out / f"synthetic_realism_{platform.machine()}_{date.today():%Y%m}.csv"
    print(f"wrote {write_csv(path, rows)}")
    if sheet is not None:
        contact_sheet(np.concatenate([render(range(60), seeds[0], p)[0] for p in ("clean", "full")]), 12, sheet)
    if missed:
        raise SystemExit(f"clean renders miss the bars for {', '.join(missed)}")


if __name__ == "__main__":
    tyro.cli(main)
