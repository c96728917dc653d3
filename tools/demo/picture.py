"""One picture of the call: what the caller heard, and what the recording holds of each party."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

mpl.use("Agg")

from matplotlib import pyplot as plt

RATE_HZ = 8000
CALLER = "#2f6db3"
CALLEE = "#c2571a"
NOTICE = "#8a6d00"
INK = "#22303c"
Samples = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Scene:
    """What is drawn; all times in seconds since the answer.

    Attributes:
        heard: What the caller heard, from second 0 on.
        left: The recording's left channel, the caller.
        right: The recording's right channel, the callee.
        notice: Start and end of the announcement.
        starts: Where the recording's first sample lies.
        recording: Its id.
        purpose: Its purpose.
        expiry: Until when it is kept.
    """

    heard: Samples
    left: Samples
    right: Samples
    notice: tuple[float, float]
    starts: float
    recording: str
    purpose: str
    expiry: str


def draw(scene: Scene, to: Path) -> None:
    """Write the picture as PNG."""
    ends = max(len(scene.heard) / RATE_HZ, scene.starts + len(scene.left) / RATE_HZ)
    plt.rcParams.update({"font.family": "DejaVu Sans", "font.size": 10, "axes.edgecolor": "#b8c0c8"})
    figure, axes = plt.subplots(
        5,
        1,
        figsize=(14, 10.5),
        sharex=True,
        height_ratios=(1, 1, 1.25, 1, 1.25),
        layout=ConstrainedLayoutEngine(h_pad=0.07, rect=(0, 0, 1, 0.985)),
        facecolor="white",
    )
    figure.suptitle(
        "A recorded call: announced first, then the caller left and the callee right",
        fontsize=14,
        fontweight="bold",
        color=INK,
        x=0.01,
        ha="left",
    )
    _waveform(axes[0], scene.heard, 0.0, "#6b7680", "what the caller hears")
    _waveform(axes[1], scene.left, scene.starts, CALLER, "recording, left: caller")
    _spectrogram(axes[2], scene.left, scene.starts, "left, spectrum")
    _waveform(axes[3], scene.right, scene.starts, CALLEE, "recording, right: callee")
    _spectrogram(axes[4], scene.right, scene.starts, "right, spectrum")
    _mark_notice(axes, scene)
    axes[-1].set_xlabel("seconds since the call was answered", color=INK)
    axes[-1].set_xlim(0, ends)
    figure.text(
        0.99,
        0.985,
        f"recording {scene.recording[:8]}…   purpose {scene.purpose}   kept until {scene.expiry}",
        ha="right",
        va="top",
        fontsize=9,
        color="#6b7680",
    )
    figure.savefig(to, dpi=110)
    plt.close(figure)


def _mark_notice(axes: NDArray[np.object_], scene: Scene) -> None:
    start, end = scene.notice
    axes[0].axvspan(start, end, color="#ffe9a8", alpha=0.75, lw=0, zorder=0)
    axes[0].text(
        start + 0.06, -0.7, "announcement", va="center", color=NOTICE, fontsize=10, fontweight="bold"
    )
    for axis in axes[1:]:
        axis.axvspan(0, scene.starts, facecolor="#f4f5f7", edgecolor="#d7dce1", hatch="///", lw=0, zorder=3)
        axis.text(
            scene.starts / 2,
            0.5,
            "nothing is recorded",
            transform=axis.get_xaxis_transform(),
            ha="center",
            va="center",
            color="#7c8791",
            fontsize=9,
            style="italic",
            zorder=4,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 2},
        )
    for axis in axes:
        axis.axvline(end, color=NOTICE, lw=1.6, zorder=5)
    axes[0].annotate(
        "heard to its end: recording may begin",
        (end, -0.7),
        xytext=(8, 0),
        textcoords="offset points",
        color=NOTICE,
        fontsize=9,
        va="center",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5},
    )


def _waveform(axis: Axes, samples: Samples, starts: float, colour: str, name: str) -> None:
    """Draw the envelope: least and greatest sample of every 5 ms."""
    step = RATE_HZ // 200
    whole = samples[: len(samples) // step * step].reshape(-1, step) / 32768
    at = starts + (np.arange(len(whole)) + 0.5) * step / RATE_HZ
    axis.fill_between(at, whole.min(axis=1), whole.max(axis=1), color=colour, lw=0.3, zorder=2)
    axis.set_ylim(-0.9, 0.9)
    axis.set_yticks([])
    axis.set_title(name, loc="left", fontsize=10, color=INK, pad=3)
    axis.spines[["top", "right", "left"]].set_visible(False)


def _spectrogram(axis: Axes, samples: Samples, starts: float, name: str) -> None:
    """Draw the power of each 10 ms in decibels, 0 to 4 kHz."""
    size, hop = 256, 80
    windows = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64) / 32768, size)[::hop]
    power = 20 * np.log10(np.abs(np.fft.rfft(windows * np.hanning(size), axis=1)) + 1e-6)
    top = float(power.max())
    extent = (starts, starts + len(samples) / RATE_HZ, 0.0, 4.0)
    axis.imshow(
        power.T,
        origin="lower",
        aspect="auto",
        extent=extent,
        cmap="magma",
        vmin=top - 75,
        vmax=top,
        interpolation="bilinear",
        zorder=1,
    )
    axis.set_title(name, loc="left", fontsize=10, color=INK, pad=3)
    axis.set_ylabel("kHz", color=INK)
    axis.spines[["top", "right"]].set_visible(False)
