"""Stop in the middle of a signal, and go on elsewhere as if nothing had happened."""

import numpy as np

import unmuffle

x = 0.1 * np.random.default_rng(0).standard_normal(16000).astype(np.float32)
enhancer = unmuffle.load("omlsa")

one = enhancer.stream(16000)
head = one.process(x[:7001])
saved = one.state()  # arrays and numbers: send it, store it

other = enhancer.stream(16000)
other.restore(saved)
tail = np.concatenate((other.process(x[7001:]), other.flush()))

whole = enhancer.stream(16000)
expected = np.concatenate((whole.process(x), whole.flush()))
print("same bits:", np.array_equal(np.concatenate((head, tail)), expected))
