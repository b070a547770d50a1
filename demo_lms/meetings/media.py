"""The files that the sandbox "records": a quiet tone as a WAV file, which every browser plays and seeks in."""

import io
import math
import wave
from functools import lru_cache

RATE = 8000
SHORTEST, LONGEST = 2, 120  # seconds


def playing_time(seconds: float) -> int:
    """How long the file of a recording of so many seconds is: whole seconds, and no more than two minutes."""
    return max(SHORTEST, min(LONGEST, round(seconds)))


@lru_cache(maxsize=8)
def wav_file(seconds: int) -> bytes:
    """A WAV file (PCM, mono, 8 kHz, 8 bits) of so many seconds; the same bytes each time."""
    period = [128 + round(20 * math.sin(2 * math.pi * 8 * at / 160)) for at in range(160)]  # 400 Hz
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(RATE)
        file.writeframes(bytes(period) * (RATE * seconds // 160))
    return target.getvalue()
