"""A Pipecat transport whose microphone is enhanced before anything else hears it (extra ``pipecat``)."""

import asyncio

import numpy as np

from unmuffle.errors import MissingExtraError

try:
    from pipecat.transports.base_transport import TransportParams

    from unmuffle.integrations.pipecat import UnmuffleFilter
except (ImportError, MissingExtraError) as error:
    print(f"left out: {error}")
    raise SystemExit(0) from None

enhance = UnmuffleFilter("log-mmse")
params = TransportParams(audio_in_enabled=True, audio_in_sample_rate=16000, audio_in_filter=enhance)


async def main() -> None:
    """What the transport does with the filter: start it, then 20 ms at a time."""
    await enhance.start(16000)
    rng = np.random.default_rng(0)
    for _ in range(100):
        heard = (1000 * rng.standard_normal(320)).astype(np.int16)
        clear = np.frombuffer(await enhance.filter(heard.tobytes()), np.int16)
    print(f"noise is down by {20 * np.log10(heard.std() / clear.std()):.0f} dB, {enhance.latency_ms:.0f} ms later")
    await enhance.stop()


asyncio.run(main())
