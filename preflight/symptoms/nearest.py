"""Known symptoms that a text resembles, although it shows none of them: by the words that both have."""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Mapping

from preflight.symptoms.catalogue import Sample, Symptom, known

_WORD = re.compile(r"[^\W\d_]{3,30}")
_LONGEST = 20_000  # characters of a text, from its end
_ALIKE = 0.2  # of the weight of all words in a text's line and in a sample, how much both have


def nearest(text: str, *, most: int = 3) -> tuple[tuple[Symptom, Sample], ...]:
    """The symptoms with the samples that are most like a line of the text, the nearest first; none if none is like it.

    A word weighs the more, the fewer samples have it: ``failed`` says little, ``manifest`` much.
    """
    lines = {_words(line) for line in text[-_LONGEST:].splitlines()}
    best: dict[str, tuple[float, Symptom, Sample]] = {}
    weights, samples = _weights(), _samples()
    for symptom, sample, words in samples:
        score = max((_likeness(line, words, weights) for line in lines), default=0.0)
        if score > max(_ALIKE, best[symptom.id][0] if symptom.id in best else 0.0):
            best[symptom.id] = (score, symptom, sample)
    ranked = sorted(best.values(), key=lambda entry: -entry[0])
    return tuple((symptom, sample) for _, symptom, sample in ranked[:most])


def _words(line: str) -> frozenset[str]:
    return frozenset(word.lower() for word in _WORD.findall(line))


def _likeness(line: frozenset[str], sample: frozenset[str], weights: Mapping[str, float]) -> float:
    shared = sum(weights[word] for word in line & sample)
    # A word that no sample has weighs as much as the rarest.
    return shared / sum(weights.get(word, weights[""]) for word in line | sample) if shared else 0.0


@functools.cache
def _samples() -> tuple[tuple[Symptom, Sample, frozenset[str]], ...]:
    return tuple((symptom, sample, _words(sample.line)) for symptom in known() for sample in symptom.samples)


@functools.cache
def _weights() -> Mapping[str, float]:
    """How much each word of the samples tells; under "" the most."""
    samples = _samples()
    counted = Counter(word for _, _, words in samples for word in words)
    return {word: math.log(1 + len(samples) / count) for word, count in counted.items()} | {
        "": math.log(1 + len(samples))
    }
