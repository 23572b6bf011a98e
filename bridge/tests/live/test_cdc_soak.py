"""A short soak: twenty kills, the same ones each time (`make soak` has a thousand, and others)."""
import soak


def test_twenty_kills_lose_and_double_nothing(server):
    counts = soak.soak(server, seed=1, kills=20)
    assert all(counts[phase] >= 1 for phase in soak.PHASES)
    assert counts["comparisons"] >= 2  # at the end of each round; others by chance
